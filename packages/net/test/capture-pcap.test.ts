import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CaptureError, detectCaptureFormat, PcapWriter } from '../src/capture/index.ts';
import { CLIENT, CLIENT6, counting, DEVICE, DEVICE6, hex, ipPacket, pcapFile, readAll } from './capture-samples.ts';

const datagram = fc.record({
  timeMs: fc.integer({ min: 1_000_000_000_000, max: 2_000_000_000_000 }).map((ms) => ms + 0.25),
  data: fc.uint8Array({ maxLength: 1500 }),
  ipv6: fc.boolean(),
  reply: fc.boolean(),
});

describe('pcap files', () => {
  test('what the writer makes, the reader gives back (B12)', () => {
    const options = fc.record({
      linkType: fc.constantFrom('ethernet' as const, 'raw' as const),
      precision: fc.constantFrom('us' as const, 'ns' as const),
    });
    fc.assert(
      fc.property(options, fc.array(datagram, { maxLength: 20 }), (writerOptions, datagrams) => {
        const writer = new PcapWriter(writerOptions);
        const sent = datagrams.map(({ timeMs, data, ipv6, reply }) => {
          const [client, device] = ipv6 ? [CLIENT6, DEVICE6] : [CLIENT, DEVICE];
          return { timeMs, data, source: reply ? device : client, destination: reply ? client : device };
        });
        const { packets, report } = readAll(
          Buffer.concat([writer.header(), ...sent.map((packet) => writer.record(packet))]),
        );
        expect(report).toMatchObject({ format: 'pcap', packets: sent.length, problems: [] });
        for (const [at, packet] of packets.entries()) {
          const original = sent[at]!;
          expect(packet).toMatchObject({ record: at + 1, position: at + 1, proto: 'udp', direction: undefined });
          expect(packet.source).toEqual(original.source);
          expect(packet.destination).toEqual(original.destination);
          expect(hex(packet.data)).toBe(hex(original.data));
          expect(packet.timeMs).toBeCloseTo(original.timeMs - sent[0]!.timeMs, 2);
        }
      }),
    );
  });

  test('the writer refuses what no packet can hold', () => {
    const writer = new PcapWriter();
    const packet = { timeMs: 0, source: CLIENT, destination: DEVICE, data: new Uint8Array(65_508) };
    expect(() => writer.record(packet)).toThrow(CaptureError);
    expect(() => writer.record({ ...packet, data: counting(4), destination: DEVICE6 })).toThrow(/one family/);
    expect(() => writer.record({ ...packet, data: counting(4), source: { address: 'camera', port: 1 } })).toThrow(
      expect.objectContaining({ code: 'bad-address' }),
    );
  });

  test.each([
    { littleEndian: true, nanoseconds: false },
    { littleEndian: false, nanoseconds: false },
    { littleEndian: true, nanoseconds: true },
    { littleEndian: false, nanoseconds: true },
  ])('both byte orders and both resolutions are read: %o (B12)', (variant) => {
    const perMs = variant.nanoseconds ? 1_000_000 : 1000;
    const file = pcapFile(
      [
        { seconds: 1_700_000_000, fraction: 999 * perMs, bytes: ipPacket(counting(5)) },
        { seconds: 1_700_000_001, fraction: 1.5 * perMs, bytes: ipPacket(counting(6)) },
      ],
      { linkType: 101, ...variant },
    );
    const { packets } = readAll(file);
    expect(packets.map(({ data }) => data.length)).toEqual([5, 6]);
    expect(packets[0]!.timeMs).toBe(0);
    expect(packets[1]!.timeMs).toBeCloseTo(2.5, 2);
  });

  const ip = ipPacket(counting(7));
  const ip6 = ipPacket(counting(7), CLIENT6, DEVICE6);
  const mac = counting(12, 2);
  test.each([
    ['Ethernet', 1, [...mac, 0x08, 0x00, ...ip]],
    ['Ethernet with IPv6', 1, [...mac, 0x86, 0xdd, ...ip6]],
    ['Ethernet with one VLAN tag', 1, [...mac, 0x81, 0x00, 0, 5, 0x08, 0x00, ...ip]],
    ['Ethernet with two VLAN tags', 1, [...mac, 0x88, 0xa8, 0, 5, 0x81, 0x00, 0, 6, 0x08, 0x00, ...ip]],
    ['Ethernet with padding behind the packet', 1, [...mac, 0x08, 0x00, ...ip, 0, 0, 0, 0, 0, 0]],
    ['Linux cooked', 113, [0, 4, 0, 1, 0, 6, ...counting(8), 0x08, 0x00, ...ip]],
    ['Linux cooked v2', 276, [0x08, 0x00, 0, 0, 0, 0, 0, 3, 0, 1, 4, 6, ...counting(8), ...ip]],
    ['raw IP', 101, [...ip]],
    ['raw IP of BSD', 12, [...ip6]],
    ['raw IPv4', 228, [...ip]],
    ['BSD loopback', 0, [2, 0, 0, 0, ...ip]],
    ['BSD loopback with IPv6', 0, [30, 0, 0, 0, ...ip6]],
    ['OpenBSD loopback', 108, [0, 0, 0, 2, ...ip]],
  ])('%s frames are read (B12)', (_name, linkType, frame) => {
    const { packets } = readAll(pcapFile([{ seconds: 1, fraction: 0, bytes: Uint8Array.from(frame) }], { linkType }));
    expect(packets.map(({ data }) => hex(data))).toEqual([hex(counting(7))]);
    expect(packets[0]!.destination.port).toBe(DEVICE.port);
  });

  test('a link type that is not read is named', () => {
    const { report } = readAll(pcapFile([], { linkType: 105 }));
    expect(report.problems).toEqual([expect.objectContaining({ code: 'unsupported-link-type' })]);
  });

  test('fragments are put together in any order, and missing ones are reported', () => {
    const whole = ipPacket(counting(3000));
    const body = whole.subarray(20);
    const fragment = (at: number, end: number, id: number): Uint8Array => {
      const piece = Buffer.concat([whole.subarray(0, 20), body.subarray(at, end)]);
      piece.writeUInt16BE(piece.length, 2);
      piece.writeUInt16BE(id, 4);
      piece.writeUInt16BE((at / 8) | (end < body.length ? 0x2000 : 0), 6);
      return piece;
    };
    const pieces = [fragment(2960, 3008, 7), fragment(0, 1480, 7), fragment(0, 1480, 7), fragment(1480, 2960, 7)];
    const frames = [...pieces, fragment(0, 1480, 8)].map((bytes, at) => ({ seconds: at, fraction: 0, bytes }));
    const { packets, report } = readAll(pcapFile(frames, { linkType: 101 }));
    expect(packets.map(({ data, position }) => [hex(data), position])).toEqual([[hex(counting(3000)), 4]]);
    expect(report.problems).toEqual([expect.objectContaining({ code: 'fragments-missing' })]);
  });

  test('IPv6 extension headers are passed over and its fragments put together', () => {
    const plain = Buffer.from(ipPacket(counting(64), CLIENT6, DEVICE6));
    const udp = plain.subarray(40);
    const withHeaders = (next: number, ...parts: (Uint8Array | number[])[]): Uint8Array => {
      const packet = Buffer.concat([plain.subarray(0, 40), ...parts.map((part) => Uint8Array.from(part))]);
      packet[6] = next;
      packet.writeUInt16BE(packet.length - 40, 4);
      return packet;
    };
    const frames = [
      withHeaders(0, [17, 0, 1, 4, 0, 0, 0, 0], udp),
      withHeaders(44, [17, 0, 0, 1, 0, 0, 0, 9], udp.subarray(0, 40)),
      withHeaders(44, [17, 0, 0, 40, 0, 0, 0, 9], udp.subarray(40)),
    ].map((bytes, at) => ({ seconds: at, fraction: 0, bytes }));
    const { packets } = readAll(pcapFile(frames, { linkType: 101 }));
    expect(packets.map(({ data }) => hex(data))).toEqual([hex(counting(64)), hex(counting(64))]);
  });

  test('a packet cut by the snapshot length says how long it was', () => {
    const { packets } = readAll(
      pcapFile([{ seconds: 1, fraction: 0, bytes: ipPacket(counting(200)).subarray(0, 128) }], { linkType: 101 }),
    );
    expect(packets[0]).toMatchObject({ truncated: 200 });
    expect(packets[0]!.data.length).toBe(100);
  });

  test('a file cut anywhere gives the packets before the cut', () => {
    const frames = [5, 6, 7].map((length, at) => ({ seconds: at, fraction: 0, bytes: ipPacket(counting(length)) }));
    const file = pcapFile(frames, { linkType: 101 });
    for (let end = 0; end < file.length; end++) {
      const { packets, report } = readAll(file.subarray(0, end));
      const whole = packets.filter(({ truncated }) => truncated === undefined).length;
      expect(whole).toBe(end < 24 + 16 + 33 ? 0 : end < 24 + 2 * 16 + 33 + 34 ? 1 : 2);
      const atBoundary = end === 24 || end === 24 + 16 + 33 || end === 24 + 2 * 16 + 33 + 34;
      expect(report.problemCount > 0).toBe(!atBoundary);
    }
  });

  test('a record longer than any snapshot ends the reading', () => {
    const file = Buffer.from(pcapFile([{ seconds: 1, fraction: 0, bytes: ipPacket(counting(5)) }], { linkType: 101 }));
    file.writeUInt32LE(0x7fff_ffff, 24 + 8);
    expect(readAll(file).report.problems).toEqual([expect.objectContaining({ code: 'damaged', position: 1 })]);
  });

  test('the copy of a forwarding host is left out, a retransmission is not (B12)', () => {
    const packet = (id: number, ttl: number): Uint8Array => {
      const bytes = Buffer.from(ipPacket(counting(9)));
      bytes.writeUInt16BE(id, 4);
      bytes[8] = ttl;
      return bytes;
    };
    const sent = [packet(7, 64), packet(7, 63), packet(8, 64), packet(8, 64), packet(8, 63), packet(8, 63)];
    const frames = sent.map((bytes, at) => ({ seconds: 1, fraction: at, bytes }));
    const { packets } = readAll(pcapFile(frames, { linkType: 101 }));
    expect(packets.map(({ record, position }) => [record, position])).toEqual([
      [1, 1],
      [2, 3],
      [3, 4],
    ]);
  });

  test('packets that the filter refuses get no number', () => {
    const frames = [1, 9, 2].map((first, at) => ({ seconds: at, fraction: 0, bytes: ipPacket(counting(4, first)) }));
    const { packets, report } = readAll(pcapFile(frames, { linkType: 101 }), ({ data }) => data[0] !== 9);
    expect(packets.map(({ record, position }) => [record, position])).toEqual([
      [1, 1],
      [2, 3],
    ]);
    expect(report.foreign).toBe(1);
  });
});

test('files that are no capture are said to be none', () => {
  for (const bytes of [new Uint8Array(0), Uint8Array.from([0, 1, 2, 3]), Buffer.from('only a letter\n')]) {
    const { packets, report } = readAll(bytes);
    expect(packets).toEqual([]);
    expect(report.problems).toEqual([expect.objectContaining({ code: 'unknown-format' })]);
  }
  expect(detectCaptureFormat(Uint8Array.from([0x50, 0x4b, 0, 0]))).toBe('unknown');
});
