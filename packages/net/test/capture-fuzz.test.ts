import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PcapWriter } from '../src/capture/index.ts';
import { byteHex, CLIENT, counting, DEVICE, hex, ipPacket, readAll, tcpdumpHex } from './capture-samples.ts';

/** Cases per format; a long run sets it higher. */
const RUNS = Number(process.env.TOWPATH_FUZZ_RUNS ?? 400);

function pcap(): Uint8Array {
  const writer = new PcapWriter();
  const records = [4, 40, 1400].map((length) =>
    writer.record({ timeMs: 1_700_000_000_000, source: CLIENT, destination: DEVICE, data: counting(length) }),
  );
  return Buffer.concat([writer.header(), ...records]);
}

function pcapng(): Uint8Array {
  const block = (type: number, body: Uint8Array): Buffer => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(body.length + 12);
    const kind = Buffer.alloc(4);
    kind.writeUInt32LE(type);
    return Buffer.concat([kind, length, body, length]);
  };
  const packet = Buffer.concat([ipPacket(counting(8))]);
  const fields = Buffer.alloc(20);
  fields.writeUInt32LE(packet.length, 12);
  fields.writeUInt32LE(packet.length, 16);
  return Buffer.concat([
    block(0x0a0d0d0a, Buffer.from('4d3c2b1a01000000ffffffffffffffff', 'hex')),
    block(1, Buffer.from('65000000000000000900010006000000', 'hex')),
    block(6, Buffer.concat([fields, packet])),
    block(6, Buffer.concat([fields, packet])),
  ]);
}

const SEEDS: Record<string, Uint8Array> = {
  pcap: pcap(),
  pcapng: pcapng(),
  'JSON lines': Buffer.from(
    '{"t":0,"dir":"tx","proto":"udp","hex":"f1e00000","lport":5}\n{"t":null,"dir":"rx","proto":"ble","hex":"1357","char":"x"}\n',
  ),
  'text of tcpdump': Buffer.from(`12:00:00.5 IP a > b: UDP, length 40\n${tcpdumpHex(ipPacket(counting(40)), true)}\n`),
  'text of Wireshark': Buffer.from(
    `     1 0.5  1.1.1.1  1.1.1.2  UDP  46  x\n\nInternet Protocol Version 4, Src: 1.1.1.1, Dst: 1.1.1.2\nUser Datagram Protocol, Src Port: 1, Dst Port: 2\nData (20 bytes)\n\n${byteHex(counting(20), (at) => at.toString(16).padStart(4, '0'))}\n`,
  ),
  'log of a hook': Buffer.from(
    `⚡ [RX] Empfange UDP (20 bytes)\n${byteHex(counting(20), (at) => (0x750f402a18 + at).toString(16))}\n\n[BLE TX] UUID 00000002-0000-1000-8000-00805f9b34fb\n Data: 13 57\n`,
  ),
  'log lines': Buffer.from(`2026-01-04 20:28:52,313 📤 to=1.1.1.1:5 | hex=${hex(counting(20))}…(+105b)\n`),
};

const damage = fc.array(
  fc.record({ at: fc.nat(), kind: fc.constantFrom('set', 'cut', 'insert', 'repeat'), byte: fc.nat({ max: 255 }) }),
  { minLength: 1, maxLength: 6 },
);

function damaged(bytes: Uint8Array, changes: readonly { at: number; kind: string; byte: number }[]): Uint8Array {
  let out = Buffer.from(bytes);
  for (const { at, kind, byte } of changes) {
    const place = out.length === 0 ? 0 : at % out.length;
    if (kind === 'set') out[place] = byte;
    else if (kind === 'cut') out = Buffer.concat([out.subarray(0, place), out.subarray(place + 1 + (byte % 16))]);
    else if (kind === 'insert')
      out = Buffer.concat([out.subarray(0, place), Buffer.alloc(byte % 8, byte), out.subarray(place)]);
    else out = Buffer.concat([out, out.subarray(place)]);
  }
  return out;
}

test.each(Object.keys(SEEDS))(
  '%s: damaged and truncated input never throws and gives no more than it holds',
  (name) => {
    const seed = SEEDS[name]!;
    expect(readAll(seed).packets.length).toBeGreaterThan(0);
    fc.assert(
      fc.property(damage, (changes) => {
        const bytes = damaged(seed, changes);
        const { packets, report } = readAll(bytes);
        expect(report.packets).toBe(packets.length);
        expect(report.problems.length).toBeLessThanOrEqual(100);
        const held = packets.reduce((sum, { data }) => sum + data.length, 0);
        expect(held).toBeLessThanOrEqual(bytes.length * 2);
      }),
      { numRuns: RUNS },
    );
  },
);

test('bytes without sense never throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.constantFrom(...Object.values(SEEDS)), (noise, seed) => {
      readAll(noise);
      const { report } = readAll(Buffer.concat([seed.subarray(0, 24), noise]));
      expect(report.problemCount).toBeGreaterThanOrEqual(report.problems.length);
    }),
    { numRuns: RUNS },
  );
});
