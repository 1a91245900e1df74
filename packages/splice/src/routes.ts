import type { Clock } from '@towpath/core';
import type { RouteProcess } from './route-process.ts';
import { SpliceError } from './splice-error.ts';
import type { System } from './system.ts';
import { address } from './values.ts';

/** A local address that stands for the one that the host chooses. */
export const ANY_ADDRESS = '0.0.0.0';

/** Where packets to an address leave. */
export interface Route {
  readonly device: string;
  /** Address of the next router; absent when the destination is on the link. */
  readonly gateway?: string | undefined;
  /** The address that the host chose, where it was to choose. */
  readonly source?: string | undefined;
}

/** A destination, and the local address that packets to it are to have, or {@link ANY_ADDRESS}. */
export interface RouteQuery {
  readonly to: string;
  readonly from: string;
}

/** Returns the key of a query in the result of {@link lookUpRoutes}. */
export function routeKey({ to, from }: RouteQuery): string {
  return `${to} ${from}`;
}

/**
 * Asks the kernel for many routes at once (`ip route get`). Queries without a usable route are absent from the result.
 * @throws SpliceError `no-route` when the program `ip` cannot be run.
 */
export async function lookUpRoutes(ip: RouteProcess, queries: Iterable<RouteQuery>): Promise<Map<string, Route>> {
  const lines = [...queries].map(({ to, from }) =>
    from === ANY_ADDRESS ? `route get ${address(to)}` : `route get ${address(to)} from ${address(from)}`,
  );
  const routes = new Map<string, Route>();
  if (lines.length === 0) return routes;
  for (const line of (await ip.run(lines)).split('\n')) {
    const found = parseRoute(line);
    if (found !== undefined) routes.set(routeKey(found), found.route);
  }
  return routes;
}

function parseRoute(line: string): (RouteQuery & { route: Route }) | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    return undefined;
  }
  const [entry] = Array.isArray(parsed) ? parsed : [];
  if (typeof entry !== 'object' || entry === null) return undefined;
  const { type, dst, from = ANY_ADDRESS, dev, gateway, prefsrc } = entry as Record<string, unknown>;
  // `type` is present for what does not leave the host: local, broadcast, blackhole, …
  if (type !== undefined && type !== 'unicast') return undefined;
  if (typeof dst !== 'string' || typeof from !== 'string' || typeof dev !== 'string' || dev === 'lo') return undefined;
  const text = (value: unknown) => (typeof value === 'string' ? value : undefined);
  return { to: dst, from, route: { device: dev, gateway: text(gateway), source: text(prefsrc) } };
}

/** A route is looked up again when it is older than this; who asks meanwhile gets the one that is known. */
const FRESH_MS = 5_000;
/** Sessions follow changed routes at such intervals anyway. */
const CACHED_MS = 15_000;
const MAX_CACHED = 65_536;

/** Looks routes up, remembers them for a few seconds, and runs one look-up at a time for all that ask meanwhile. */
export class RouteCache {
  readonly #clock: Clock;
  readonly #ip: RouteProcess;
  readonly #known = new Map<string, { route: Route; atMs: number }>();
  #wanted = new Map<string, RouteQuery>();
  #next: Promise<Map<string, Route>> | undefined;
  #running: Promise<unknown> = Promise.resolve();

  constructor(clock: Clock, ip: RouteProcess) {
    this.#clock = clock;
    this.#ip = ip;
  }

  /**
   * Returns the routes by {@link routeKey}; those that do not exist are absent.
   * @throws SpliceError `no-route` when the program `ip` cannot be run.
   */
  async get(queries: readonly RouteQuery[]): Promise<Map<string, Route>> {
    const now = this.#clock.now();
    const found = new Map<string, Route>();
    for (const query of queries) {
      const known = this.#known.get(routeKey(query));
      const ageMs = known === undefined ? CACHED_MS : now - known.atMs;
      if (known !== undefined && ageMs < CACHED_MS) found.set(routeKey(query), known.route);
      if (ageMs >= FRESH_MS) this.#wanted.set(routeKey(query), query);
    }
    if (this.#wanted.size > 0) this.#next ??= this.#lookUpAfter(this.#running);
    if (this.#next === undefined || queries.every((query) => found.has(routeKey(query)))) return found;
    return new Map([...found, ...(await this.#next)]);
  }

  #lookUpAfter(running: Promise<unknown>): Promise<Map<string, Route>> {
    const result = running.then(() => {
      const queries = this.#wanted;
      this.#wanted = new Map();
      this.#next = undefined;
      return this.#lookUp(queries);
    });
    this.#running = result.catch(() => 'told to those who asked, and asked again by the next');
    return result;
  }

  async #lookUp(queries: Map<string, RouteQuery>): Promise<Map<string, Route>> {
    const routes = await lookUpRoutes(this.#ip, queries.values());
    if (this.#known.size + routes.size > MAX_CACHED) this.#known.clear();
    const atMs = this.#clock.now();
    for (const key of queries.keys()) this.#known.delete(key);
    for (const [key, route] of routes) this.#known.set(key, { route, atMs });
    return routes;
  }
}

/** A network device. The index changes when one of the same name is made again. */
export interface Device {
  readonly name: string;
  readonly index: number;
}

/** The kernel takes no more for one chain (NFT_NETDEVICE_MAX). */
const MAX_DEVICES = 256;

/**
 * Returns the network devices that datagrams to the given local addresses may arrive by: all that have an address, because with
 * two uplinks, or with an address of loopback that routers know, it need not be the device that holds it. Those that hold one
 * are first, and kept when there are too many.
 * @throws SpliceError `no-route` when there is none, or no device holds any of the addresses.
 */
export async function devicesOf(system: System, addresses: readonly string[]): Promise<Device[]> {
  const { code, stdout, stderr } = await system.run('ip', ['-j', 'addr', 'show']);
  if (code !== 0) throw unusable('ip addr', stderr);
  const any = addresses.some((each) => each === '0.0.0.0' || each === '::');
  const links = JSON.parse(stdout) as { ifname: string; ifindex: number; addr_info?: { local?: string }[] }[];
  const held = links.flatMap(({ ifname, ifindex, addr_info = [] }) => {
    const usable = addr_info.flatMap(({ local }) => (local === undefined || isHostLocal(local) ? [] : [local]));
    return usable.length === 0 ? [] : [{ name: ifname, index: ifindex, usable }];
  });
  const holds = ({ usable }: { usable: readonly string[] }) => usable.some((each) => addresses.includes(each));
  const devices = [...held.filter(holds), ...held.filter((each) => !holds(each))]
    .filter(({ name }) => name !== 'lo')
    .slice(0, MAX_DEVICES)
    .map(({ name, index }) => ({ name, index }));
  if (addresses.length > 0 && addresses.every(isLoopback))
    throw new SpliceError(
      'no-route',
      'Only this machine can reach it, and the kernel forwards between network devices.',
    );
  if (devices.length === 0 || !(any || held.some(holds)))
    throw new SpliceError('no-route', `No network device has the address ${addresses.join(', ')}.`);
  return devices;
}

const isLoopback = (address: string) => /^(127\.|::1$)/.test(address);

/** Loopback and link-local addresses: nothing that is relayed has them. */
function isHostLocal(address: string): boolean {
  return /^(127\.|169\.254\.|::1$|fe[89ab])/.test(address);
}

function unusable(what: string, stderr: string): SpliceError {
  const missing = /\bENOENT\b/.test(stderr);
  return new SpliceError(
    'no-route',
    missing
      ? 'The program ip is not installed. Next: install the packages iproute2 and nftables.'
      : `${what} cannot be run: ${stderr.slice(0, 200)}`,
  );
}
