import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { decodeMessage, encodeMessage, type Message } from '../src/codec/index.ts';

// Real traffic of a KJK230, kept beside the repository: see the README there.
const FOLDER = join(import.meta.dirname, '../../../../shared/captures');
const FILES = [
  'ble_udp_1',
  'client_debug_20260104',
  'client_debug_20260106_1',
  'client_debug_20260109_8',
  'export_packets',
  'export_packets_fail',
  'frida_udp_traffic',
  'mitm_20251214',
  'tcpdump_1800_connect',
  'udp_traffic_1',
  'udp_traffic_2',
];

describe.skipIf(!existsSync(FOLDER))('recorded traffic, from ../shared/captures (B1)', () => {
  test.each(FILES)('every datagram of %s decodes, and what app and camera sent encodes to the same bytes', (file) => {
    const malformed: string[] = [];
    const changed: string[] = [];
    for (const line of readFileSync(join(FOLDER, `${file}.jsonl`), 'utf8')
      .trim()
      .split('\n')) {
      const { proto, hex, truncated } = JSON.parse(line) as { proto: string; hex?: string; truncated?: number };
      if (proto !== 'udp' || hex === undefined || truncated !== undefined) continue;
      const datagram = new Uint8Array(Buffer.from(hex, 'hex'));
      const message = decodeMessage(datagram);
      if (message.type === 'malformed' || message.type === 'unknown') {
        malformed.push(hex);
        continue;
      }
      const again = Buffer.from(encodeMessage(message as Message)).toString('hex');
      if (again !== hex) changed.push(hex);
    }
    // A third-party client claimed 83 indices and sent one; the camera closed on it.
    expect([...new Set(malformed)]).toEqual(file === 'client_debug_20260106_1' ? ['f1d10006d10000530053'] : []);
    // That client's own packets have stray bytes, which we do not keep.
    const ofTheApp = !file.startsWith('client_debug') && file !== 'export_packets_fail';
    if (ofTheApp) expect(changed).toEqual([]);
  });
});
