import { describe, expect, test } from 'vitest';
import { counting, hex, readAll } from './capture-samples.ts';

const ALIVE = Uint8Array.from([0xf1, 0xe0, 0x00, 0x00]);
const ACK = Uint8Array.from([0xf1, 0xe1, 0x00, 0x00]);
const LONG = counting(45, 0x20);
const EXCHANGE: readonly (readonly [0 | 1, Uint8Array])[] = [
  [0, ALIVE],
  [1, ACK],
  [1, LONG],
  [0, LONG],
  [0, ALIVE],
  [1, ACK],
];

/** As Wireshark shows it: the offsets of each node run on. */
function hexDump(packets: typeof EXCHANGE, indent: string): string[] {
  const offsets = [0, 0];
  return packets.flatMap(([node, data]) => {
    const lines: string[] = [];
    for (let at = 0; at < data.length; at += 16) {
      const bytes = [...data.subarray(at, at + 16)].map((byte) => byte.toString(16).padStart(2, '0'));
      const columns = `${bytes.slice(0, 8).join(' ')}  ${bytes.slice(8).join(' ')}`;
      const offset = ((offsets[node] ?? 0) + at).toString(16).toUpperCase().padStart(8, '0');
      lines.push(`${node === 1 ? indent : ''}${offset}  ${columns.padEnd(50)} ................`);
    }
    offsets[node] = (offsets[node] ?? 0) + data.length;
    return lines;
  });
}

function read(lines: readonly string[]) {
  const { packets, report } = readAll(Buffer.from(lines.join('\n')));
  expect(report.problems).toEqual([]);
  return packets.map(({ direction, data }) => [direction === 'tx' ? 0 : 1, hex(data)]);
}

const expected = EXCHANGE.map(([node, data]) => [node, hex(data)]);

describe('a followed UDP stream (B12)', () => {
  test('as Wireshark copies its hex dump', () => {
    expect(read(hexDump(EXCHANGE, '    '))).toEqual(expected);
  });

  test('one node only: packets end where a line is not full', () => {
    const one = EXCHANGE.filter(([node]) => node === 0);
    const { packets } = readAll(Buffer.from(hexDump(one, '').join('\n')));
    expect(packets.map(({ data }) => hex(data))).toEqual(one.map(([, data]) => hex(data)));
  });

  test('as tshark prints it, with the nodes', () => {
    const lines = [
      '===================================================================',
      'Follow: udp,hex',
      'Filter: udp.stream eq 0',
      'Node 0: 192.0.2.20:50000',
      'Node 1: 192.0.2.1:40611',
      ...hexDump(EXCHANGE, '\t'),
      '===================================================================',
    ];
    expect(read(lines)).toEqual(expected);
    const [first, second] = readAll(Buffer.from(lines.join('\n'))).packets;
    expect(first).toMatchObject({ source: { address: '192.0.2.20', port: 50_000 }, position: 6 });
    expect(second).toMatchObject({ source: { address: '192.0.2.1', port: 40_611 } });
  });

  test('as tshark prints it raw', () => {
    const lines = EXCHANGE.map(([node, data]) => `${node === 1 ? '\t' : ''}${hex(data).replaceAll(' ', '')}`);
    expect(read(['Follow: udp,raw', 'Filter: udp.stream eq 0', ...lines])).toEqual(expected);
  });

  test('as C arrays', () => {
    const lines = EXCHANGE.flatMap(([node, data], at) => {
      const bytes = [...data].map((byte) => `0x${byte.toString(16).padStart(2, '0')}`);
      const rows: string[] = [];
      for (let n = 0; n < bytes.length; n += 8) rows.push(bytes.slice(n, n + 8).join(', '));
      return [`char peer${node}_${at}[] = { /* Packet ${at + 1} */`, `${rows.join(', \n')} };`];
    });
    expect(read(lines.join('\n').split('\n'))).toEqual(expected);
  });

  test('a dump of a single packet is read as before', () => {
    const { packets } = readAll(Buffer.from(hexDump([[0, LONG]], '').join('\n')));
    expect(packets.map(({ data, direction }) => [hex(data), direction])).toEqual([[hex(LONG), undefined]]);
  });

  test('endless arrays and lines do not grow without bound', () => {
    const bytes = Array.from({ length: 8_000 }, () => '0xf1').join(', ');
    const lines = ['char peer0_0[] = {', ...Array.from({ length: 20 }, () => bytes)];
    const { packets } = readAll(Buffer.from(lines.join('\n')));
    expect(packets.map(({ data }) => data.length)).toEqual([65_507]);
  });
});
