import { formatEndpoint } from '@towpath/net';
import { searchLan, StreamCipher } from '@towpath/pppp';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { columns, formatMs } from '../../cli/table.ts';

interface FindOptions extends CommonOptions {
  host?: string[];
  subnet?: string[];
  searchPort?: number;
  /** Seconds. */
  timeout: number;
  key?: string[];
}

export async function find(runtime: Runtime, options: FindOptions): Promise<void> {
  const { io, network, clock, log, signal } = runtime;
  const { host, subnet, searchPort, timeout, key = [], json } = options;
  const rows: string[][] = [];
  if (!json) io.err(io.style('dim', `Searching for ${timeout} s …`));
  const found = searchLan({
    network,
    clock,
    log: log.child('LAN'),
    durationMs: timeout * 1_000,
    ciphers: [undefined, ...key.map((text) => new StreamCipher(text))],
    ...(host === undefined ? {} : { hosts: host }),
    ...(subnet === undefined ? {} : { subnets: subnet }),
    ...(searchPort === undefined ? {} : { searchPort }),
    signal,
  });
  for await (const { uid, endpoint, cipher, afterMs } of found) {
    if (json) {
      const { address, port } = endpoint;
      io.out(JSON.stringify({ uid, address, port, keyed: cipher !== undefined, afterMs: Math.round(afterMs) }));
    } else {
      const row = [formatEndpoint(endpoint), uid, cipher ? 'keyed' : 'plain', formatMs(afterMs)];
      rows.push(row);
      io.out(columns([row])[0] ?? '');
    }
  }
  if (json) return;
  if (rows.length === 0) {
    io.err(
      'No camera answered. Next: wake it, join its Wi-Fi, or ask an address: towpath camera find --host 192.168.43.1',
    );
  } else {
    io.err(io.style('dim', `${rows.length} found. Next: towpath camera connect ${rows[0]?.[0]?.split(':')[0]}`));
  }
}
