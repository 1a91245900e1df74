import { execFile } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { readFile } from 'node:fs/promises';
import { bytesToAddress } from '../address/ip.ts';
import { inSubnet } from '../address/subnet.ts';
import type { DefaultRoute, DefaultRouteOptions } from '../default-route.ts';
import type { InterfaceAddress } from '../network.ts';

/** Public addresses (a.root-servers.net) that nothing is sent to: connecting a UDP socket only asks the kernel for the route. */
const ANY_PUBLIC: Readonly<Record<4 | 6, string>> = { 4: '198.41.0.4', 6: '2001:503:ba3e::2:30' };
const DISCARD_PORT = 9;
const IP_TIMEOUT_MS = 5_000;

const ROUTE_FILES: Readonly<Record<4 | 6, string>> = { 4: '/proc/net/route', 6: '/proc/net/ipv6_route' };
const ROUTE_UP = 0x1;
const ROUTE_GATEWAY = 0x2;
const ROUTE_REJECT = 0x200;

/** One line of the kernel's main table. */
export interface RouteEntry {
  readonly interface: string;
  readonly destination: string;
  readonly prefixLength: number;
  /** `undefined`: the destination is on the link. */
  readonly gateway: string | undefined;
  readonly metric: number;
}

/** Reads `/proc/net/route`; lines that it does not understand are left out. */
export function parseRoutes4(text: string): RouteEntry[] {
  const entries: RouteEntry[] = [];
  for (const line of text.split('\n').slice(1)) {
    const [name = '', destination = '', gateway = '', flags = '', , , metric = '', mask = ''] = line
      .trim()
      .split(/\s+/);
    const [to, through, bits] = [littleEndian(destination), littleEndian(gateway), littleEndian(mask)];
    const set = Number.parseInt(flags, 16);
    if (to === undefined || through === undefined || bits === undefined || !isUsable(set)) continue;
    if (!/^\d{1,10}$/.test(metric)) continue;
    entries.push({
      interface: name,
      destination: to,
      prefixLength: bits.split('.').reduce((sum, byte) => sum + onesIn(Number(byte)), 0),
      gateway: set & ROUTE_GATEWAY ? through : undefined,
      metric: Number(metric),
    });
  }
  return entries;
}

/** Reads `/proc/net/ipv6_route`; lines that it does not understand are left out. */
export function parseRoutes6(text: string): RouteEntry[] {
  const entries: RouteEntry[] = [];
  for (const line of text.split('\n')) {
    const [destination = '', length = '', , , gateway = '', metric = '', , , flags = '', name = ''] = line
      .trim()
      .split(/\s+/);
    const [to, through] = [bigEndian(destination), bigEndian(gateway)];
    const set = Number.parseInt(flags, 16);
    if (to === undefined || through === undefined || name === '' || !isUsable(set)) continue;
    if (!/^[0-9a-f]{2}$/.test(length) || Number.parseInt(length, 16) > 128 || !/^[0-9a-f]{8}$/.test(metric)) continue;
    const zone = through.startsWith('fe80:') ? `%${name}` : '';
    entries.push({
      interface: name,
      destination: to,
      prefixLength: Number.parseInt(length, 16),
      gateway: set & ROUTE_GATEWAY ? `${through}${zone}` : undefined,
      metric: Number.parseInt(metric, 16),
    });
  }
  return entries;
}

function isUsable(flags: number): boolean {
  return (flags & ROUTE_UP) !== 0 && (flags & ROUTE_REJECT) === 0;
}

/** The kernel prints IPv4 addresses as numbers in host order, which is little-endian everywhere that this runs. */
function littleEndian(hex: string): string | undefined {
  return /^[0-9A-Fa-f]{8}$/.test(hex) ? Buffer.from(hex, 'hex').reverse().join('.') : undefined;
}

function bigEndian(hex: string): string | undefined {
  return /^[0-9a-fA-F]{32}$/.test(hex) ? bytesToAddress(Buffer.from(hex, 'hex')) : undefined;
}

function onesIn(byte: number): number {
  return byte.toString(2).replaceAll('0', '').length;
}

/** The most specific entry for an address over one interface, the lowest metric among equals. */
export function bestRoute(entries: readonly RouteEntry[], to: string, name: string): RouteEntry | undefined {
  let best: RouteEntry | undefined;
  for (const entry of entries) {
    const { destination: address, prefixLength } = entry;
    if (entry.interface !== name || !inSubnet(to, { address, prefixLength })) continue;
    const closer = best === undefined ? 1 : prefixLength - best.prefixLength;
    if (best === undefined || closer > 0 || (closer === 0 && entry.metric < best.metric)) best = entry;
  }
  return best;
}

/**
 * Returns the route that the kernel takes now. The source address is the kernel's own answer, so routing rules and VPNs
 * count; the gateway comes from the main table (Linux) and is `undefined` where that does not name one. For a given source
 * address the program `ip` is asked, where there is one, because rules by source lead to other tables.
 */
export async function nodeDefaultRoute(
  interfaces: () => InterfaceAddress[],
  { family = 4, to = ANY_PUBLIC[family], from, signal }: DefaultRouteOptions = {},
): Promise<DefaultRoute | undefined> {
  signal?.throwIfAborted();
  if (from !== undefined && process.platform === 'linux') {
    const asked = await routeFrom(from, to, family);
    signal?.throwIfAborted();
    if (asked !== 'unknown') return asked;
  }
  const source = from ?? (await sourceFor(to, family));
  signal?.throwIfAborted();
  if (source === undefined) return undefined;
  const on = interfaces().find(({ address }) => address.split('%')[0] === source.split('%')[0]);
  if (on === undefined) return undefined;
  const entries = await routeTable(family);
  signal?.throwIfAborted();
  return { family, interface: on.name, source, gateway: bestRoute(entries, to, on.name)?.gateway };
}

async function routeTable(family: 4 | 6): Promise<RouteEntry[]> {
  try {
    const text = await readFile(ROUTE_FILES[family], 'utf8');
    return family === 4 ? parseRoutes4(text) : parseRoutes6(text);
  } catch {
    // Not Linux, or no IPv6: there is no table to read.
    return [];
  }
}

/** The address that packets to `to` leave from; nothing is sent. */
function sourceFor(to: string, family: 4 | 6): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket: Socket = createSocket(family === 4 ? 'udp4' : 'udp6');
    const done = (source: string | undefined) => {
      socket.close();
      resolve(source);
    };
    socket.once('error', () => done(undefined));
    socket.connect(DISCARD_PORT, to, (error?: Error) => done(error ? undefined : socket.address().address));
  });
}

/** Reads what `ip -j route get … from …` prints; `undefined` for a destination that packets do not leave the host to. */
export function parseRouteGet(text: string, family: 4 | 6, source: string): DefaultRoute | undefined {
  const [entry] = JSON.parse(text) as { type?: string; dev?: string; gateway?: string }[];
  // `type` is present for what does not leave the host: local, unreachable, blackhole …
  if (entry?.dev === undefined || (entry.type !== undefined && entry.type !== 'unicast')) return undefined;
  const { dev, gateway } = entry;
  const zone = gateway?.startsWith('fe80:') ? `%${dev}` : '';
  return { family, interface: dev, source, gateway: gateway && `${gateway}${zone}` };
}

/** The route that a socket bound to `source` takes; `unknown` where the program `ip` is missing or prints no JSON. */
function routeFrom(source: string, to: string, family: 4 | 6): Promise<DefaultRoute | undefined | 'unknown'> {
  return new Promise((resolve) => {
    const args = ['-j', family === 4 ? '-4' : '-6', 'route', 'get', to, 'from', source];
    execFile('ip', args, { timeout: IP_TIMEOUT_MS }, (error, stdout, stderr) => {
      if (error !== null) {
        resolve(/unreachable|No route/i.test(stderr) ? undefined : 'unknown');
        return;
      }
      try {
        resolve(parseRouteGet(stdout, family, source));
      } catch {
        resolve('unknown');
      }
    });
  });
}
