import type { RelayEnd } from './relay-form.ts';
import type { RelayForm } from './relay-rules.ts';
import { RouteProcess } from './route-process.ts';
import {
  ANY_ADDRESS,
  type Device,
  devicesOf,
  lookUpRoutes,
  type Route,
  RouteCache,
  type RouteQuery,
  routeKey,
} from './routes.ts';
import { SpliceError } from './splice-error.ts';
import type { TablesComponents } from './owned-tables.ts';

/** Both ends of a session. */
export interface RelayEnds {
  readonly a: RelayEnd;
  readonly b: RelayEnd;
}

/** Where packets to `b` and to `a` leave; undefined in the form that leaves this to the host. */
export type RelayHops = readonly [Route | undefined, Route | undefined];

export const NO_HOPS: RelayHops = [undefined, undefined];

/** The host's side of a relay: the devices that packets arrive by, and where they leave. */
export class RelayRoutes implements Disposable {
  readonly #components: TablesComponents;
  readonly #form: RelayForm;
  readonly #addresses: readonly string[];
  readonly #ip: RouteProcess;
  readonly #cache: RouteCache;
  #devices: readonly Device[] = [];

  /** @param options.addresses the relay's own addresses on this host */
  constructor(components: TablesComponents, { form, addresses }: { form: RelayForm; addresses: readonly string[] }) {
    this.#components = components;
    this.#form = form;
    this.#addresses = addresses;
    this.#ip = new RouteProcess(components);
    this.#cache = new RouteCache(components.clock, this.#ip);
  }

  /** Returns the names of the devices that packets of sessions may arrive by. @throws SpliceError `no-route` */
  async devices(): Promise<string[]> {
    this.#devices = await this.#present();
    return this.#devices.map(({ name }) => name);
  }

  /** Whether a device was added, made again or removed, or has its first address, since {@link devices}. @throws SpliceError `no-route` */
  async devicesHaveChanged(): Promise<boolean> {
    const text = (devices: readonly Device[]) => devices.map(({ name, index }) => `${index} ${name}`).join();
    return text(await this.#present()) !== text(this.#devices);
  }

  /**
   * Returns the ends of a session with their local addresses: where that is 0.0.0.0, as of a socket that is bound to it, the one
   * that the host sends to this end from.
   * @throws SpliceError `no-route`
   */
  async located<Ends extends RelayEnds>(ends: Ends): Promise<Ends> {
    const isOpen = ({ local }: RelayEnd) => local.address === ANY_ADDRESS;
    const queries = [ends.a, ends.b].filter(isOpen).map(queryOf);
    if (queries.length === 0) return ends;
    const routes = await this.#cache.get(queries);
    const located = (end: RelayEnd): RelayEnd => {
      if (!isOpen(end)) return end;
      const source = routes.get(routeKey(queryOf(end)))?.source;
      if (source === undefined) throw new SpliceError('no-route', `No route to ${end.remote.address}.`);
      return { remote: end.remote, local: { address: source, port: end.local.port } };
    };
    return { ...ends, a: located(ends.a), b: located(ends.b) };
  }

  /** Returns where packets of a session leave, as it was seconds ago at most. @throws SpliceError `no-route` */
  async hops({ a, b }: RelayEnds): Promise<RelayHops> {
    if (this.#form === 'inet') return NO_HOPS;
    const routes = await this.#cache.get([queryOf(a), queryOf(b)]);
    const to = (end: RelayEnd) => {
      const route = routes.get(routeKey(queryOf(end)));
      if (route !== undefined) return route;
      throw new SpliceError('no-route', `No route to ${end.remote.address} from ${end.local.address}.`);
    };
    return [to(b), to(a)];
  }

  /**
   * Asks for the routes of many sessions.
   * @returns where packets of one of them leave; undefined for one without a route to each end
   * @throws SpliceError `no-route` when the program `ip` cannot be run
   */
  async lookUp(sessions: Iterable<RelayEnds>): Promise<(ends: RelayEnds) => RelayHops | undefined> {
    const queries = new Map<string, RouteQuery>();
    for (const { a, b } of sessions) {
      for (const query of [queryOf(a), queryOf(b)]) queries.set(routeKey(query), query);
    }
    const routes = await lookUpRoutes(this.#ip, queries.values());
    return ({ a, b }) => {
      const [toA, toB] = [a, b].map((end) => routes.get(routeKey(queryOf(end))));
      return toA === undefined || toB === undefined ? undefined : [toB, toA];
    };
  }

  /** Ends the `ip` process. Idempotent. */
  [Symbol.dispose](): void {
    this.#ip[Symbol.dispose]();
  }

  #present(): Promise<Device[]> {
    return devicesOf(this.#components.system, this.#addresses);
  }
}

export function sameHops(one: RelayHops, other: RelayHops): boolean {
  return one.every((hop, at) => hop?.device === other[at]?.device && hop?.gateway === other[at]?.gateway);
}

function queryOf({ remote, local }: RelayEnd): RouteQuery {
  return { to: remote.address, from: local.address };
}
