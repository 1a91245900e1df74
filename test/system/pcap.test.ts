import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type PcapPacket, PcapWriter, type PcapWriterOptions, readCapture } from '@towpath/net/capture';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const hasTshark = spawnSync('tshark', ['--version']).status === 0;

/** In CI a missing tool is a failure, not a skip. */
const skip = !hasTshark && process.env.CI === undefined;

const IPV4 = { client: { address: '192.0.2.20', port: 50_000 }, device: { address: '192.0.2.1', port: 40_000 } };
const IPV6 = { client: { address: '2001:db8::20', port: 50_000 }, device: { address: '2001:db8::1', port: 40_000 } };

/** Good, as tshark writes the state of a checksum. */
const GOOD = '1';

describe.skipIf(skip)('pcap files read by tshark (skipped where tshark is not installed)', () => {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'towpath-pcap-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function fields(file: string, ...names: string[]): string[][] {
    const options = ['-o', 'udp.check_checksum:TRUE', '-o', 'ip.check_checksum:TRUE', '-T', 'fields'];
    const result = spawnSync('tshark', ['-r', file, ...options, ...names.flatMap((name) => ['-e', name])], {
      encoding: 'utf8',
    });
    expect(result.status, result.stderr).toBe(0);
    return result.stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split('\t'));
  }

  const variants: PcapWriterOptions[] = [
    { linkType: 'ethernet', precision: 'us' },
    { linkType: 'ethernet', precision: 'ns' },
    { linkType: 'raw', precision: 'us' },
    { linkType: 'raw', precision: 'ns' },
  ];

  test.each(variants)('every datagram of %o arrives with good checksums (B12)', (options) => {
    const writer = new PcapWriter(options);
    const packets: PcapPacket[] = [IPV4, IPV6].flatMap(({ client, device }) =>
      [1, 4, 53, 1032].map((length, at) => ({
        timeMs: 1_700_000_000_000.5 + at,
        source: at % 2 === 0 ? client : device,
        destination: at % 2 === 0 ? device : client,
        data: Uint8Array.from({ length }, (_, i) => (i * 7) & 0xff),
      })),
    );
    const file = join(folder, `${options.linkType}-${options.precision}.pcap`);
    writeFileSync(file, Buffer.concat([writer.header(), ...packets.map((packet) => writer.record(packet))]));
    const names = ['frame.time_epoch', 'udp.srcport', 'udp.dstport', 'udp.payload', 'udp.checksum.status'];
    const rows = fields(file, ...names, 'ip.checksum.status', 'ip.src', 'ipv6.src');
    expect(rows).toHaveLength(packets.length);
    for (const [at, row] of rows.entries()) {
      const { source, destination, data, timeMs } = packets[at]!;
      const [time, sourcePort, destinationPort, payload, udpStatus, ipStatus, ip, ip6] = row;
      const ipv6 = source.address.includes(':');
      expect([sourcePort, destinationPort]).toEqual([String(source.port), String(destination.port)]);
      expect(payload).toBe(Buffer.from(data).toString('hex'));
      expect([udpStatus, ipStatus]).toEqual([GOOD, ipv6 ? '' : GOOD]);
      expect(ipv6 ? ip6 : ip).toBe(source.address);
      expect(secondsOf(time!)).toBeCloseTo(timeMs / 1000, 4);
    }
  });

  test('what tshark writes as pcapng and prints as text is read back (B12)', () => {
    const writer = new PcapWriter();
    const data = Uint8Array.from({ length: 45 }, (_, at) => at + 0x20);
    const packet = { timeMs: 1_700_000_000_000, source: IPV4.client, destination: IPV4.device, data };
    const file = join(folder, 'source.pcap');
    writeFileSync(file, Buffer.concat([writer.header(), writer.record(packet), writer.record(packet)]));
    const converted = join(folder, 'converted.pcapng');
    expect(spawnSync('tshark', ['-r', file, '-F', 'pcapng', '-w', converted]).status).toBe(0);
    const text = spawnSync('tshark', ['-r', file, '-V', '-x', '-P'], { encoding: 'utf8' });
    expect(text.status, text.stderr).toBe(0);
    const exported = join(folder, 'export.txt');
    writeFileSync(exported, text.stdout);
    for (const path of [converted, exported]) {
      const payloads: string[] = [];
      const onPacket = (read: { data: Uint8Array }): unknown => payloads.push(Buffer.from(read.data).toString('hex'));
      readCapture(readFileSync(path), { onPacket });
      expect(payloads, path).toEqual([0, 1].map(() => Buffer.from(data).toString('hex')));
    }
  });
});

/** Depending on its version tshark prints an epoch time as seconds or as a date. */
function secondsOf(time: string): number {
  return /^\d+(\.\d+)?$/.test(time) ? Number(time) : Date.parse(time) / 1000;
}
