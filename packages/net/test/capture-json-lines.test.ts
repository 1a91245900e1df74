import { expect, test } from 'vitest';
import { hex, readAll } from './capture-samples.ts';

function read(...lines: unknown[]) {
  const text = lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n');
  return readAll(Buffer.from(`${text}\n`));
}

test('every field of a JSON line is read (B12)', () => {
  const { packets, report } = read(
    { t: 1.5, dir: 'tx', proto: 'udp', hex: 'f1e00000', lport: 50_000, rport: 40_000 },
    { t: null, dir: 'rx', proto: 'udp', hex: 'f1d0', rport: 40_000, truncated: 201 },
    { t: null, dir: 'rx', proto: 'ble', hex: '1357', char: '00000003-0000-1000-8000-00805f9b34fb' },
  );
  expect(report).toMatchObject({ format: 'json-lines', packets: 3, problems: [] });
  expect(packets.map(({ data }) => hex(data))).toEqual(['f1e00000', 'f1d0', '1357']);
  expect(packets[0]).toMatchObject({ record: 1, timeMs: 1500, direction: 'tx', proto: 'udp', truncated: undefined });
  expect(packets[0]!.source).toEqual({ address: undefined, port: 50_000 });
  expect(packets[0]!.destination).toEqual({ address: undefined, port: 40_000 });
  expect(packets[1]).toMatchObject({ timeMs: undefined, direction: 'rx', truncated: 201 });
  expect(packets[1]!.source.port).toBe(40_000);
  expect(packets[2]).toMatchObject({ proto: 'ble', characteristic: '00000003-0000-1000-8000-00805f9b34fb' });
});

test('the number of a packet is the number of its line, whatever stands before it (B12)', () => {
  const packet = { t: 0, dir: 'tx', proto: 'udp', hex: 'f1e00000' };
  const { packets, report } = read(packet, '', '{"t":0,"dir":', { ...packet, dir: 'up' }, { dir: 'tx' }, '[1]', packet);
  expect(packets.map(({ record }) => record)).toEqual([1, 7]);
  expect(report.problems.map(({ code, position }) => [code, position])).toEqual([
    ['bad-line', 3],
    ['bad-line', 4],
    ['bad-line', 5],
    ['bad-line', 6],
  ]);
});

test('damaged hex is used as far as it goes', () => {
  const { packets, report } = read({ t: 0, dir: 'tx', proto: 'udp', hex: 'f1e0zz00' });
  expect(packets.map(({ data }) => hex(data))).toEqual(['f1e0']);
  expect(report.problems[0]).toMatchObject({ code: 'bad-line', position: 1 });
});

test('the filter does not touch numbered lines', () => {
  const line = JSON.stringify({ t: 0, dir: 'tx', proto: 'udp', hex: '00' });
  expect(readAll(Buffer.from(`${line}\n${line}`), () => false).packets.map(({ record }) => record)).toEqual([1, 2]);
});
