import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Recovery, SendChannel } from '../src/channel/send-channel.ts';
import { drwData, drwIndex } from '../src/codec/session-messages.ts';
import { streamBytes } from './channel-bytes.ts';

const ADAPTIVE: Recovery = { newerAcks: 3, timeoutOf: 'earliest-sent' };
const AS_DEVICE: Recovery = { newerAcks: 0, timeoutOf: 'lowest-index' };
const WINDOW = 32;

/** A channel with a clock that counts transmissions and the order that a session would hand out. */
function rig(recovery = ADAPTIVE, firstPosition = 0) {
  const channel = new SendChannel(0, recovery, firstPosition);
  let order = 0;
  return {
    channel,
    send(now = 0) {
      const sent: number[] = [];
      while (channel.ready(WINDOW)) sent.push(drwIndex(channel.take(now, ++order).datagram));
      return sent;
    },
    ack: (indices: number[], now = 10) => indices.map((index) => channel.acknowledge(index, now, 0, 0)),
  };
}

describe('send channel', () => {
  test('cuts a write into packets of 1024 bytes, header as captured (B1)', () => {
    const { channel } = rig();
    channel.enqueue(streamBytes(0, 2669));
    const packets = [1, 2, 3].map((order) => channel.take(0, order).datagram);
    expect(packets.map((packet) => drwData(packet).length)).toEqual([1024, 1024, 621]);
    expect(packets.map(drwIndex)).toEqual([0, 1, 2]);
    expect(channel.ready(WINDOW)).toBe(false);
    const small = rig().channel;
    small.enqueue(Buffer.from('ACK'));
    expect(Buffer.from(small.take(0, 1).datagram).toString('hex')).toBe('f1d00007d100000041434b');
  });

  test('merges small writes that still wait', () => {
    const { channel } = rig();
    for (let i = 0; i < 300; i++) channel.enqueue(streamBytes(i * 5, 5));
    const packets = [1, 2].map((order) => drwData(channel.take(0, order).datagram));
    expect(Buffer.concat(packets)).toEqual(Buffer.from(streamBytes(0, 1500)));
    expect(channel.ready(WINDOW)).toBe(false);
  });

  test('keeps no more indices under way than the window', () => {
    const { channel, send, ack } = rig();
    channel.enqueue(streamBytes(0, 40 * 1024));
    expect(send()).toHaveLength(WINDOW);
    ack([1, 2, 3]);
    expect(send().every((index) => index < WINDOW)).toBe(true);
    ack([0]);
    expect(send()).toEqual([32, 33, 34, 35]);
  });

  test('repeats a packet once three sent after it were acknowledged, and not before (B1)', () => {
    const { channel, send, ack } = rig();
    channel.enqueue(streamBytes(0, 6 * 1024));
    send();
    ack([1, 2]);
    expect(channel.findLost()).toBe(0);
    ack([3]);
    expect(channel.findLost()).toBe(1);
    expect(send(20)).toEqual([0]);
    ack([4, 5], 30);
    expect(channel.findLost()).toBe(0);
    expect(ack([0], 40)).toEqual(['new']);
    expect(channel.bufferedBytes).toBe(0);
  });

  test('finds the loss of a repeated packet from packets sent after the repetition', () => {
    const { channel, send, ack } = rig();
    channel.enqueue(streamBytes(0, 4 * 1024));
    send();
    ack([1, 2, 3]);
    channel.findLost();
    send(20);
    channel.enqueue(streamBytes(0, 3 * 1024));
    send(21);
    ack([4, 5, 6], 40);
    expect(channel.findLost()).toBe(1);
    expect(send(40)).toEqual([0]);
  });

  test('waits for more newer packets on a path that has shown to reorder', () => {
    const { channel, send, ack } = rig();
    channel.enqueue(streamBytes(0, 4 * 1024));
    send(0);
    ack([1, 2, 3], 10);
    channel.findLost();
    send(11);
    channel.acknowledge(0, 12, 10, 20);
    channel.enqueue(streamBytes(0, 5 * 1024));
    send(20);
    ack([5, 6, 7], 30);
    expect(channel.findLost()).toBe(0);
    ack([8], 30);
    expect(channel.findLost()).toBe(1);
  });

  test('takes nothing for lost on an acknowledgement that may be of the first copy', () => {
    const { channel, send } = rig();
    channel.enqueue(streamBytes(0, 8 * 1024));
    send(0);
    channel.timeOut(40, 40, 1);
    send(40);
    expect(channel.acknowledge(0, 90, 42, 120)).toBe('new');
    expect(channel.findLost()).toBe(0);
    channel.timeOut(140, 40, 1);
    send(140);
    expect(channel.acknowledge(1, 190, 42, 120)).toBe('new');
    expect(channel.findLost()).toBe(5);
  });

  test('as a device, repeats only the packet with the lowest index, once per interval (B1)', () => {
    const { channel, send, ack } = rig(AS_DEVICE);
    channel.enqueue(streamBytes(0, 5 * 1024));
    send(0);
    ack([1, 2, 3, 4], 5);
    expect(channel.findLost()).toBe(0);
    expect(channel.dueAt(40)).toBe(40);
    expect([39, 40, 40].map((now) => channel.timeOut(now, 40, 4))).toEqual([0, 1, 0]);
    expect(send(40)).toEqual([0]);
    expect(channel.dueAt(40)).toBe(80);
  });

  test('on a time-out repeats the oldest, no more than it may, byte for byte as before', () => {
    const { channel, send } = rig();
    channel.enqueue(streamBytes(0, 6 * 1024));
    const first = channel.take(0, 1).datagram;
    send(0);
    expect(channel.timeOut(40, 40, 4)).toBe(4);
    const again = channel.take(40, 99);
    expect(again.datagram).toEqual(first);
    expect(again.sends).toBe(2);
  });

  test('tells indices that were never sent from those acknowledged before', () => {
    const { channel, send, ack } = rig();
    expect(ack([0])).toEqual(['unknown']);
    channel.enqueue(streamBytes(0, 2 * 1024));
    send();
    expect(ack([1, 1, 0, 0, 2, 83, 65_535])).toEqual([
      'new',
      'repeated',
      'new',
      'repeated',
      'unknown',
      'unknown',
      'unknown',
    ]);
  });

  test('goes on past index 65535 (B1)', () => {
    const { channel, send, ack } = rig(ADAPTIVE, 65_534);
    channel.enqueue(streamBytes(0, 4 * 1024));
    expect(send()).toEqual([65_534, 65_535, 0, 1]);
    expect(ack([1, 0, 65_535])).toEqual(['new', 'new', 'new']);
    expect(channel.findLost()).toBe(1);
    expect(send()).toEqual([65_534]);
    expect(ack([65_534, 1])).toEqual(['new', 'repeated']);
    expect(channel.bufferedBytes).toBe(0);
  });

  test('accounts for every byte and packet under any order of events', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('write' as const), value: fc.integer({ min: 1, max: 5000 }) }),
      fc.record({ do: fc.constant('send' as const), value: fc.integer({ min: 1, max: 8 }) }),
      fc.record({ do: fc.constant('ack' as const), value: fc.integer({ min: 0, max: 65_535 }) }),
      fc.record({ do: fc.constant('time' as const), value: fc.integer({ min: 0, max: 60 }) }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 65_535 }), fc.array(step, { maxLength: 200 }), (first, steps) => {
        const channel = new SendChannel(0, ADAPTIVE, first);
        const acknowledged = new Set<number>();
        const sent = new Map<number, number>();
        let now = 0;
        let order = 0;
        let written = 0;
        for (const { do: what, value } of steps) {
          if (what === 'write') {
            channel.enqueue(streamBytes(written, value));
            written += value;
          } else if (what === 'send') {
            for (let i = 0; i < value && channel.ready(WINDOW); i++) {
              const { datagram } = channel.take(now, ++order);
              expect(acknowledged.has(drwIndex(datagram))).toBe(false);
              sent.set(drwIndex(datagram), drwData(datagram).length);
            }
          } else if (what === 'ack') {
            const known = [...sent.keys()];
            const index = value % 2 === 0 && known.length > 0 ? known[value % known.length]! : value;
            const outcome = channel.acknowledge(index, now, 0, 0);
            expect(outcome).toBe(!sent.has(index) ? 'unknown' : acknowledged.has(index) ? 'repeated' : 'new');
            if (outcome === 'new') acknowledged.add(index);
            channel.findLost();
          } else {
            now += value;
            channel.timeOut(now, 40, 4);
          }
          const settled = [...acknowledged].reduce((sum, index) => sum + sent.get(index)!, 0);
          expect(channel.bufferedBytes).toBe(written - settled);
          expect(channel.inFlight + channel.lost).toBe(sent.size - acknowledged.size);
        }
      }),
    );
  });
});
