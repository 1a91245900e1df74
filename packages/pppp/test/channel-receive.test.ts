import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AckBatch } from '../src/channel/ack-batch.ts';
import { type Arrival, ReceiveChannel } from '../src/channel/receive-channel.ts';

const data = (index: number) => Uint8Array.of(index & 0xff, (index >> 8) & 0xff);

function receive(channel: ReceiveChannel, index: number): { arrival: Arrival; delivered: number[] } {
  const bytes = data(index);
  const arrival = channel.accept(index & 0xffff, bytes);
  const delivered: Uint8Array[] = arrival === 'in-order' ? [bytes] : [];
  for (let next = channel.next(); next !== undefined; next = channel.next()) delivered.push(next);
  return { arrival, delivered: delivered.map(([low = 0, high = 0]) => low | (high << 8)) };
}

describe('receive channel', () => {
  const table: { title: string; arrive: number[]; arrivals: Arrival[]; delivered: number[] }[] = [
    {
      title: 'delivers packets in order at once',
      arrive: [0, 1, 2],
      arrivals: ['in-order', 'in-order', 'in-order'],
      delivered: [0, 1, 2],
    },
    {
      title: 'keeps what is ahead until the gap closes',
      arrive: [1, 2, 0, 3],
      arrivals: ['stored', 'stored', 'in-order', 'in-order'],
      delivered: [0, 1, 2, 3],
    },
    {
      title: 'tells duplicates, delivered or kept',
      arrive: [0, 0, 2, 2, 1, 2],
      arrivals: ['in-order', 'duplicate', 'stored', 'duplicate', 'in-order', 'duplicate'],
      delivered: [0, 1, 2],
    },
    {
      title: 'refuses what is beyond the window of 1024',
      arrive: [1024, 1023, 0, 1024],
      arrivals: ['refused', 'stored', 'in-order', 'stored'],
      delivered: [0],
    },
    { title: 'takes half the index range behind for old', arrive: [0x8000], arrivals: ['duplicate'], delivered: [] },
  ];
  for (const { title, arrive, arrivals, delivered } of table) {
    test(`${title} (B1)`, () => {
      const channel = new ReceiveChannel(1 << 20);
      const seen = arrive.map((index) => receive(channel, index));
      expect(seen.map(({ arrival }) => arrival)).toEqual(arrivals);
      expect(seen.flatMap((step) => step.delivered)).toEqual(delivered);
    });
  }

  test('goes on past index 65535 (B1)', () => {
    const channel = new ReceiveChannel(1 << 20, false, 65_534);
    expect([65_535, 65_537, 65_534, 65_536].flatMap((index) => receive(channel, index).delivered)).toEqual([
      65_534, 65_535, 0, 1,
    ]);
  });

  test('keeps no more than its budget, and takes the awaited packet all the same', () => {
    const channel = new ReceiveChannel(4);
    expect([1, 2, 3].map((index) => receive(channel, index).arrival)).toEqual(['stored', 'stored', 'refused']);
    expect(channel.storedBytes).toBe(4);
    expect(receive(channel, 0).delivered).toEqual([0, 1, 2]);
    expect(channel.storedBytes).toBe(0);
  });

  test('holds everything while paused, up to the budget', () => {
    const channel = new ReceiveChannel(4, true);
    expect([0, 1, 2].map((index) => receive(channel, index).arrival)).toEqual(['stored', 'stored', 'refused']);
    channel.paused = false;
    expect(receive(channel, 1)).toEqual({ arrival: 'duplicate', delivered: [0, 1] });
  });

  test('delivers each packet once and in order whatever the order and repetition of arrival (B1)', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 65_535 }),
        fc.array(fc.integer({ min: 0, max: 60 }), { maxLength: 300 }),
        (first, arrivals) => {
          const channel = new ReceiveChannel(1 << 20, false, first);
          const all = [...arrivals, ...Array.from({ length: 61 }, (_, index) => index)];
          const delivered = all.flatMap((offset) => receive(channel, first + offset).delivered);
          expect(delivered).toEqual(Array.from({ length: 61 }, (_, index) => (first + index) & 0xffff));
          expect(channel.storedBytes).toBe(0);
        },
      ),
    );
  });
});

describe('acknowledgement batch', () => {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

  test('is full at seventeen indices, and then byte for byte what the recorded app sends (B1)', () => {
    const batch = new AckBatch(4);
    const full = Array.from({ length: 17 }, (_, index) => batch.add(index));
    expect(full.indexOf(true)).toBe(16);
    expect(hex(batch.take())).toBe(
      'f1d10026d10400110000000100020003000400050006000700080009000a000b000c000d000e000f0010',
    );
    expect(batch.count).toBe(0);
  });

  test('lists an index as often as it arrived', () => {
    const batch = new AckBatch(0);
    for (const index of [0, 0, 0]) batch.add(index);
    expect(hex(batch.take())).toBe('f1d1000ad1000003000000000000');
  });
});
