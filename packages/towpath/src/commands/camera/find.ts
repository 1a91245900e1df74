import { formatEndpoint } from '@towpath/net';
import { DEFAULT_PORTS } from '@towpath/camera';
import { searchLan, StreamCipher } from '@towpath/pppp';
import { ReportedError } from '../../cli/failure.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { columns, formatMs } from '../../cli/table.ts';
import { printJson } from '../../cli/json-output.ts';

interface FindOptions extends CommonOptions {
  host?: string[];
  subnet?: string[];
  localAddress?: string;
  searchPort?: number;
  /** Seconds. */
  timeout: number;
  key?: string[];
}

export async function find(runtime: Runtime, options: FindOptions): Promise<void> {
  const { io, network, clock, log, signal } = runtime;
  const { host, subnet, localAddress, searchPort, timeout, key = [], json } = options;
  const advice = (address: string, local: string | undefined) =>
    [
      `towpath camera connect ${address}`,
      ...(local === undefined ? [] : [`--local-address ${local}`]),
      ...(searchPort === undefined ? [] : [`--search-port ${searchPort}`]),
    ].join(' ');
  let first: string | undefined;
  let count = 0;
  if (!json) io.err(io.style('dim', `Searching for ${timeout} s …`));
  const found = searchLan({
    network,
    clock,
    log: log.child('LAN'),
    durationMs: timeout * 1_000,
    knownPorts: DEFAULT_PORTS.slice(0, 1),
    ciphers: [undefined, ...key.map((text) => new StreamCipher(text))],
    ...(host === undefined ? {} : { hosts: host }),
    ...(subnet === undefined ? {} : { subnets: subnet }),
    ...(searchPort === undefined ? {} : { searchPort }),
    ...(localAddress === undefined ? {} : { localAddress }),
    signal,
  });
  for await (const device of found) {
    const { uid, endpoint, cipher, afterMs } = device;
    const through = localAddress ?? device.localAddress;
    count++;
    first ??= advice(endpoint.address, device.localAddress) + (cipher === undefined ? '' : ' --key KEY');
    if (json) {
      const { address, port } = endpoint;
      const keyed = cipher !== undefined;
      printJson(io, 'camera-found', {
        uid,
        address,
        port,
        localAddress: through ?? null,
        keyed,
        afterMs: Math.round(afterMs),
      });
    } else {
      const row = [formatEndpoint(endpoint), uid, cipher ? 'keyed' : 'plain', formatMs(afterMs)];
      io.out(columns([through === undefined ? row : [...row, `through ${through}`]])[0] ?? '');
    }
  }
  if (json) printJson(io, 'search', { found: count });
  if (count === 0) {
    const address = host?.[0] ?? DEFAULT_HOST;
    const search = `towpath camera find --host ${address}${searchPort === undefined ? '' : ` --search-port ${searchPort}`}`;
    const wake = `wake the camera, join its Wi-Fi${host === undefined ? `, or search an address: ${search}` : ', and check the address'}`;
    throw new ReportedError(
      'no-camera',
      `No camera answered. Next: ${wake}. If the camera is on and in this network, a firewall on this host may drop its answers: allow incoming UDP from it.`,
      { kind: 'unreachable' },
    );
  }
  if (!json) io.err(io.style('dim', `${count} found. Next: ${first}`));
}

/** Address of a KJK230 in its own hotspot. */
const DEFAULT_HOST = '192.168.43.1';
