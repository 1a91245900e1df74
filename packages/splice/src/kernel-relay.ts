import { type Events, errorMessage, silentLog, type Timer } from '@towpath/core';
import { randomInstance } from './host-splice.ts';
import type { MapElement } from './nft-output.ts';
import type { ElementChange } from './nft-commands.ts';
import {
  OwnedTables,
  type TablesComponents,
  type TablesDefinition,
  type TablesEvents,
  type TablesOptions,
} from './owned-tables.ts';
import { INGRESS_FORM } from './ingress-form.ts';
import type { Direction, FormRules, RelayEnd } from './relay-form.ts';
import { COUNTER_MAPS, counterMap, type PayloadPattern, type RelayForm } from './relay-rules.ts';
import { ROUTING_FORM } from './routing-form.ts';
import { RelayEgresses } from './relay-egresses.ts';
import { type RelayAccount, RelayAccounts, type RelayUsage } from './relay-accounts.ts';
import { NO_HOPS, type RelayHops, RelayRoutes, sameHops } from './relay-routes.ts';
import { SpliceError } from './splice-error.ts';
import { address, type Endpoint, family, type IpFamily, port } from './values.ts';

export interface RelaySession {
  readonly a: RelayEnd;
  readonly b: RelayEnd;
  /** Name of an account of {@link KernelRelay.setAccount}. @default no limit */
  readonly account?: string;
}

/** What was forwarded of a session, payload bytes. */
export interface SessionCounters {
  readonly packetsFromA: number;
  readonly bytesFromA: number;
  readonly packetsFromB: number;
  readonly bytesFromB: number;
}

export interface KernelRelayOptions extends Partial<Omit<TablesOptions, 'prefix'>> {
  form: RelayForm;
  /** The relay's own addresses on this host. */
  addresses: readonly string[];
  /** Payloads that are left to the server's socket. @default none */
  control?: readonly PayloadPattern[];
  /** When given, only these payloads are forwarded; all others are left to the server's socket. @default all */
  data?: readonly PayloadPattern[];
  /** Larger payloads are left to the server's socket. @default all are forwarded */
  maxPayloadBytes?: number;
  /** Rate that all sessions share, bytes per second with IP and UDP headers. @default no limit */
  totalBytesPerSecond?: number;
  /** @default 32768 */
  maxSessions?: number;
  /** How often routes are looked up again, ms. @default 10000 */
  routeIntervalMs?: number;
}

/** What came from one end, with IP and UDP headers. */
interface Traffic {
  packets: number;
  bytes: number;
  /** The kernel's counters when they were last read; they begin anew when the tables are made again. */
  read: { readonly packets: number; readonly bytes: number };
}

/** Counters begin anew with new tables: reads them. */
interface Renewal {
  before(): Promise<void>;
}

interface Open {
  readonly number: number;
  readonly ip: IpFamily;
  readonly session: RelaySession;
  /** Confirmed elements. */
  elements: ElementChange[];
  hops: RelayHops;
  /** From `a`, and from `b`. */
  readonly traffic: readonly [Traffic, Traffic];
  /** Settles when it is open, or has failed and left nothing. */
  opening: Promise<void>;
}

const FORMS = { netdev: INGRESS_FORM, inet: ROUTING_FORM };
const COUNTERS = Array.from({ length: COUNTER_MAPS }, (_, number) => counterMap(number));
const HEADER_BYTES = { 4: 28, 6: 48 };
const DEFAULT_MAX_SESSIONS = 32_768;
const DEFAULT_ROUTE_INTERVAL_MS = 10_000;
/** Reading takes at most a fifth of a core. */
const READ_SPACING = 4;
const MIN_READ_SPACING_MS = 100;
const NOTHING = { packets: 0, bytes: 0 };
const NO_COUNTERS: SessionCounters = { packetsFromA: 0, bytesFromA: 0, packetsFromB: 0, bytesFromB: 0 };

/**
 * Forwards datagrams between two ends in the kernel, byte for byte. What belongs to no
 * session, matches a control pattern or is a fragment reaches the server's sockets as ever.
 */
export class KernelRelay implements AsyncDisposable {
  readonly form: RelayForm;
  readonly #components: TablesComponents;
  readonly #options: KernelRelayOptions;
  readonly #tables: OwnedTables;
  readonly #routes: RelayRoutes;
  readonly #sessions = new Map<string, Open>();
  /** Sessions whose counters may be read, by number. */
  readonly #numbered = new Map<number, Open>();
  readonly #accounts: RelayAccounts;
  readonly #rules: FormRules;
  readonly #egresses: RelayEgresses;
  readonly #free: number[] = [];
  #numbers = 0;
  readonly #closing = new AbortController();
  #routeTimer: Timer | undefined;
  /** Readings of counters that have not begun, by map. */
  readonly #nextReads = new Map<string, Promise<void>>();
  /** When it settles, the next read may start after so many ms. */
  #lastRead: Promise<number> = Promise.resolve(0);

  /**
   * Makes the tables. {@link probeKernel} tells which form can be used.
   * @throws SpliceError
   */
  static async open(components: TablesComponents, options: KernelRelayOptions): Promise<KernelRelay> {
    const { form, control = [], data, maxPayloadBytes, totalBytesPerSecond, ...rest } = options;
    const { maxSessions = DEFAULT_MAX_SESSIONS } = rest;
    const rules = { form, control, data, maxPayloadBytes, totalBytesPerSecond, maxSessions };
    const routes = new RelayRoutes(components, options);
    const renewal: Renewal = { before: async () => {} };
    const define = async (): Promise<TablesDefinition> => {
      const devices = await routes.devices();
      const renewed = async (there: boolean) => {
        if (there) await renewal.before();
        return define();
      };
      return { ...FORMS[form].definition({ ...rules, devices }), renewed };
    };
    const tables = await OwnedTables.open(components, await define(), {
      instance: randomInstance(components),
      ...rest,
      prefix: 'towpath-relay',
    });
    return new KernelRelay({ ...components, tables, routes, renewal }, options);
  }

  private constructor(
    components: TablesComponents & { tables: OwnedTables; routes: RelayRoutes; renewal: Renewal },
    options: KernelRelayOptions,
  ) {
    const { tables, routes, renewal } = components;
    this.#components = components;
    this.#options = options;
    this.#tables = tables;
    this.#rules = FORMS[options.form];
    this.#accounts = new RelayAccounts(tables, options.form);
    this.#egresses = new RelayEgresses(tables, this.#rules, options.totalBytesPerSecond);
    this.#routes = routes;
    this.form = options.form;
    renewal.before = () => this.#readForRenewal();
    tables.events.on('replaced', () => {
      for (const { traffic } of this.#numbered.values()) for (const each of traffic) each.read = NOTHING;
    });
    this.#armRoutes();
  }

  /** Tells when the tables were made again, and when that fails. What was not read before is not counted then. */
  get events(): Events<TablesEvents> {
    return this.#tables.events;
  }

  /** Sessions that are open. */
  get size(): number {
    return this.#sessions.size;
  }

  has(id: string): boolean {
    return this.#sessions.has(id);
  }

  /**
   * Creates or replaces an account. Sessions that are open move to it; its rate and bytes start anew.
   * @throws SpliceError
   */
  async setAccount(id: string, limits: RelayAccount): Promise<void> {
    const replaced = await this.#accounts.set(id, limits);
    for (const open of this.#sessions.values()) {
      if (open.session.account === id) await this.#change(open, await this.#elementsOf(open));
    }
    if (replaced.length > 0) await this.#tables.apply({ removeObjects: replaced });
  }

  /** Removes an account that no session uses. @throws SpliceError */
  removeAccount(id: string): Promise<void> {
    return this.#accounts.remove(id);
  }

  /** Reads what accounts have used since they were set, and what was dropped over their limits. @throws SpliceError */
  async usage(): Promise<RelayUsage> {
    await this.#readAll();
    return this.#accounts.usage();
  }

  /** Returns the ends of a session with their local addresses: see {@link RelayRoutes.located}. @throws SpliceError `no-route` */
  located<Ends extends Pick<RelaySession, 'a' | 'b'>>(ends: Ends): Promise<Ends> {
    return this.#routes.located(ends);
  }

  /**
   * Forwards between two ends from now on; resolves when the kernel has confirmed.
   * @throws SpliceError `invalid-value` (also for ends of different families, and an id that is open), `no-route`,
   *   `full`, `nft-rejected`
   */
  async open(id: string, session: RelaySession): Promise<void> {
    const ends = [checked(session.a), checked(session.b)] as const;
    const ip = family(ends[0].remote.address);
    const all = ends.flatMap(({ remote, local }) => [remote, local]);
    if (all.some((each) => family(each.address) !== ip)) throw invalid('Both ends must be of one address family.');
    if (this.#sessions.has(id)) throw invalid(`Session ${id} is open already.`);
    if (session.account !== undefined && !this.#accounts.has(session.account)) {
      throw invalid(`Account ${session.account} does not exist.`);
    }
    const number = this.#free.pop() ?? this.#numbers + 1;
    if (2 * number >= this.#rules.maxMark) throw new SpliceError('full', 'The kernel has no room for more sessions.');
    this.#numbers = Math.max(this.#numbers, number);
    const complete = { ...session, a: ends[0], b: ends[1] };
    const open: Open = {
      number,
      ip,
      session: complete,
      elements: [],
      hops: NO_HOPS,
      traffic: [noTraffic(), noTraffic()],
      opening: Promise.resolve(),
    };
    this.#sessions.set(id, open);
    open.opening = this.#start(id, open);
    await open.opening;
  }

  async #start(id: string, open: Open): Promise<void> {
    try {
      open.hops = await this.#routes.hops(open.session);
      const elements = await this.#elementsOf(open);
      this.#numbered.set(open.number, open);
      if (this.#sessions.get(id) === open) await this.#change(open, elements);
    } catch (error) {
      if (this.#sessions.get(id) === open) this.#sessions.delete(id);
      this.#giveBack(open);
      throw error;
    }
    if (this.#sessions.get(id) === open) return;
    if (open.elements.length > 0) await this.#remove(open);
    else this.#giveBack(open);
    throw new SpliceError('closed', `Session ${id} was closed meanwhile.`);
  }

  /**
   * Leaves a session's packets to the server's sockets again: at once; its counters take longer, up to seconds with
   * thousands of sessions.
   * @returns its final counters
   * @throws SpliceError
   */
  async close(id: string): Promise<SessionCounters> {
    const open = this.#sessions.get(id);
    if (open === undefined) return NO_COUNTERS;
    this.#sessions.delete(id);
    if (open.elements.length > 0) return this.#remove(open);
    await open.opening.catch(() => 'told to who opened it');
    return NO_COUNTERS;
  }

  /** Reads the counters of all sessions. @throws SpliceError */
  async counters(): Promise<Map<string, SessionCounters>> {
    await this.#readAll();
    return this.lastCounters();
  }

  /** Returns the counters of all sessions as they were last read. */
  lastCounters(): Map<string, SessionCounters> {
    return new Map([...this.#sessions].map(([id, open]) => [id, countersOf(open)]));
  }

  /**
   * Compares the kernel's maps with the sessions that are open.
   * @returns ids whose elements are complete, ids whose are not, and elements of no session
   * @throws SpliceError
   */
  async list(): Promise<{ complete: string[]; incomplete: string[]; unexpected: string[] }> {
    const maps = [...this.#rules.maps, ...COUNTERS];
    const found = new Set<string>();
    for (const map of maps) for (const { key } of await this.#tables.read(this.#ref(map))) found.add(`${map} ${key}`);
    const complete: string[] = [];
    const incomplete: string[] = [];
    for (const [id, { elements }] of this.#sessions) {
      const keys = elements.filter(({ map }) => maps.includes(map)).map(({ map, key }) => `${map} ${key}`);
      (keys.length > 0 && keys.every((key) => found.has(key)) ? complete : incomplete).push(id);
      for (const key of keys) found.delete(key);
    }
    return { complete, incomplete, unexpected: [...found] };
  }

  /** Looks up the routes of all sessions again and follows those that have changed. @throws SpliceError */
  async refreshRoutes(): Promise<void> {
    const hopsOf = await this.#routes.lookUp([...this.#sessions.values()].map(({ session }) => session));
    for (const open of [...this.#sessions.values()]) {
      if (open.elements.length === 0) continue;
      const hops = hopsOf(open.session);
      if (hops === undefined || sameHops(hops, open.hops)) continue;
      open.hops = hops;
      await this.#change(open, await this.#elementsOf(open));
    }
  }

  /** Looks now whether the tables are there and makes them again if not; it is done every 700 ms anyway. */
  check(): Promise<void> {
    return this.#tables.check();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.dispose();
  }

  /** Removes the tables: all packets reach the server's sockets. Idempotent. */
  dispose(): void {
    this.#routeTimer?.cancel();
    this.#closing.abort(new SpliceError('closed', 'The relay was closed.'));
    this.#routes[Symbol.dispose]();
    this.#tables.close();
  }

  #armRoutes(): void {
    if (this.form !== 'netdev') return;
    const { clock, log = silentLog } = this.#components;
    this.#routeTimer = clock.timer(this.#options.routeIntervalMs ?? DEFAULT_ROUTE_INTERVAL_MS, () => {
      this.#armRoutes();
      const followed = this.#followDevices().then(() => this.refreshRoutes());
      followed.catch((error: unknown) => log.warn(`Routes were not looked up: ${errorMessage(error)}`));
    });
  }

  /** Makes the tables again when a device was added, made again or removed, or has its first address. */
  async #followDevices(): Promise<void> {
    if (await this.#routes.devicesHaveChanged()) await this.#tables.renew('the network devices have changed');
  }

  async #elementsOf(open: Open): Promise<ElementChange[]> {
    const { number, ip, session, hops } = open;
    const { a, b, account: name } = session;
    const rules = this.#rules;
    const directions: Direction[] = [
      { mark: 2 * number, ip, from: a, to: b },
      { mark: 2 * number + 1, ip, from: b, to: a },
    ];
    const elements = directions.map(async (direction, at) => {
      const source = direction.to.local.address;
      const group = { ip, source, route: hops[at], account: this.#accounts.egressOf(name) };
      const own = rules.elements(direction, await this.#egresses.chain(group, number));
      return name === undefined ? own : [...own, ...this.#accounts.elements(name, rules.account(direction))];
    });
    return (await Promise.all(elements)).flat();
  }

  /** Makes a session's elements what they should be. */
  async #change(open: Open, wanted: ElementChange[]): Promise<void> {
    if (open.elements.length === 0) {
      await this.#tables.apply({ add: wanted });
      open.elements = wanted;
      return;
    }
    const id = ({ map, key, value }: ElementChange) => `${map} ${key} ${value}`;
    const before = new Set(open.elements.map(id));
    const after = new Set(wanted.map(id));
    const remove = open.elements.filter((each) => !after.has(id(each)));
    const add = wanted.filter((each) => !before.has(id(each)));
    if (remove.length + add.length > 0) await this.#tables.apply({ remove, add });
    open.elements = wanted;
  }

  /** The first change ends forwarding; the counters are still there after it, and go with the second. */
  async #remove(open: Open): Promise<SessionCounters> {
    const { isEntry } = this.#rules;
    await this.#tables.apply({ remove: open.elements.filter(isEntry) });
    try {
      await this.#read(counterMap(open.number));
    } finally {
      if (!this.#closing.signal.aborted) {
        await this.#tables.apply({ remove: open.elements.filter((each) => !isEntry(each)), mayWait: true });
        this.#giveBack(open);
      }
    }
    return countersOf(open);
  }

  #giveBack({ number }: Open): void {
    this.#numbered.delete(number);
    this.#free.push(number);
  }

  async #readAll(): Promise<void> {
    const maps = new Set([...this.#numbered.keys()].map(counterMap));
    await Promise.all([...maps].map((map) => this.#read(map)));
  }

  async #readForRenewal(): Promise<void> {
    const { log = silentLog } = this.#components;
    try {
      for (const map of new Set([...this.#numbered.keys()].map(counterMap))) await this.#readNow(map);
    } catch (error) {
      log.debug(`Counters were not read: ${errorMessage(error)}`);
    }
  }

  async #readNow(map: string): Promise<void> {
    this.#count(await this.#tables.read(this.#ref(map)));
  }

  /** Reads a map with counters once for all who ask meanwhile: nft takes as long for one session as for all. One map at a time. */
  #read(map: string): Promise<void> {
    const waiting = this.#nextReads.get(map);
    if (waiting !== undefined) return waiting;
    const { clock } = this.#components;
    const reading = this.#lastRead.then(async (waitMs) => {
      await clock.sleep(waitMs, this.#closing.signal);
      this.#nextReads.delete(map);
      const startedMs = clock.now();
      await this.#readNow(map);
      return clock.now() - startedMs;
    });
    this.#lastRead = reading.then(
      (tookMs) => READ_SPACING * tookMs,
      () => {
        this.#nextReads.delete(map);
        return MIN_READ_SPACING_MS;
      },
    );
    const result = reading.then(() => undefined);
    this.#nextReads.set(map, result);
    return result;
  }

  /** Adds what has passed since the last reading to sessions and accounts. */
  #count(elements: readonly MapElement[]): void {
    for (const { key, packets, bytes } of elements) {
      const mark = this.#rules.markOf(key);
      const open = this.#numbered.get(mark >> 1);
      const traffic = open?.traffic[mark & 1];
      if (open === undefined || traffic === undefined) continue;
      const before = packets < traffic.read.packets ? NOTHING : traffic.read;
      traffic.read = { packets, bytes };
      traffic.packets += packets - before.packets;
      traffic.bytes += bytes - before.bytes;
      const { account } = open.session;
      if (account !== undefined) this.#accounts.spend(account, bytes - before.bytes);
    }
  }

  #ref(map: string): { family: RelayForm; map: string } {
    return { family: this.form, map };
  }
}

function noTraffic(): Traffic {
  return { packets: 0, bytes: 0, read: NOTHING };
}

function countersOf({ traffic: [a, b], ip }: Open): SessionCounters {
  const payload = ({ packets, bytes }: Traffic) => bytes - HEADER_BYTES[ip] * packets;
  return { packetsFromA: a.packets, bytesFromA: payload(a), packetsFromB: b.packets, bytesFromB: payload(b) };
}

function checked({ remote, local }: RelayEnd): RelayEnd {
  const endpoint = (each: Endpoint) => ({ address: address(each.address), port: Number(port(each.port)) });
  return { remote: endpoint(remote), local: endpoint(local) };
}

function invalid(message: string): SpliceError {
  return new SpliceError('invalid-value', message);
}
