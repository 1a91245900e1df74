import {
  AbortedError,
  backoff,
  type Clock,
  deadline,
  errorMessage,
  isAbort,
  type Log,
  type Random,
  type Timer,
  TowpathError,
} from '@towpath/core';
import { type Endpoint, formatEndpoint, type Network, sameEndpoint } from '@towpath/net';
import { StunClient, type StunDemultiplexer, StunTransactions, type TransportProtocol } from '@towpath/stun';
import { MessageClass, Method } from '@towpath/stun/message';
import type { MeshRelay } from '../control-plane.ts';
import { parseRelayUrl, resolveRelay } from '../paths/relay-session.ts';
import { type RelayKey, relayKey } from './relay-key.ts';
import { roundFigure } from './relay-signal.ts';

export interface RelayMeterComponents {
  network: Network;
  clock: Clock;
  random: Random;
  log: Log;
  /** Of the path socket: what is measured is what the paths use. */
  stun: StunDemultiplexer;
}

export interface RelayMeterOptions {
  /** Relays to measure, at this moment; bounded. */
  relays(): readonly MeshRelay[];
  /** PEM of certificate authorities that relays may have, besides the system's. */
  authorities?: string | undefined;
  /** A figure that members are told has changed. */
  onChange(): void;
}

/** Measured again after this time, ms. */
const AGAIN_MS = 60_000;
/** A relay that does not answer is asked again later and later: its address may be somebody else's. */
const SILENT = { baseMs: 5_000, maxMs: 600_000 };
/** However often a relay is replaced or asked for, it is measured this often at most, ms. */
const SPACING_MS = 3_000;
const MAX_AT_ONCE = 4;
/** The least of so many round trips counts: the others have waited somewhere. */
const REQUESTS = 3;
const REQUEST = { rtoMs: 400, maxSends: 2, lastWaitFactor: 2 };
/** Over TCP or TLS, connecting included, ms. */
const STREAM_LIMIT_MS = 5_000;
/** A figure that differs by less than the larger of the two from the one that was told is not told anew. */
const TOLD_MS = 2;
const TOLD_RATIO = 0.15;

interface Measured {
  readonly key: RelayKey;
  dueAtMs: number;
  /** When it was last asked. */
  askedAtMs: number;
  measuring: boolean;
  waits: Iterator<number>;
  url: string;
}

/**
 * Measures the round trip to relays by Binding requests; members tell each other the figures. Over UDP, and in a network that UDP
 * does not leave over TCP or TLS, as the relayed addresses are asked for there.
 */
export class RelayMeter {
  readonly #components: RelayMeterComponents;
  readonly #options: RelayMeterOptions;
  readonly #transactions: StunTransactions;
  readonly #registration: Disposable;
  readonly #closing = new AbortController();
  readonly #relays = new Map<RelayKey, Measured>();
  readonly #figures = new Map<RelayKey, number>();
  readonly #addresses = new Map<RelayKey, string>();
  /** Relays that have answered over UDP. */
  readonly #overUdp = new Set<RelayKey>();
  readonly #work = new Set<Promise<void>>();
  #timer: Timer | undefined;

  constructor(components: RelayMeterComponents, options: RelayMeterOptions) {
    this.#components = components;
    this.#options = options;
    const { stun, clock, random } = components;
    this.#transactions = new StunTransactions({ clock, random, send: (data, to) => stun.send(data, to) });
    this.#registration = stun.onOther((message, from) => this.#transactions.handle(message, from));
    this.update();
  }

  /** Round trips of the relays that answer, ms, as the members are told. */
  get figures(): ReadonlyMap<RelayKey, number> {
    return this.#figures;
  }

  /** The relay that was reached at an address; undefined when none was. */
  relayAt(address: string): RelayKey | undefined {
    return [...this.#addresses].find(([, each]) => each === address)?.[0];
  }

  /** The list of relays has changed. */
  update(): void {
    if (this.#closing.signal.aborted) return;
    const { clock, random } = this.#components;
    const wanted = new Map(this.#options.relays().map((relay) => [relayKey(relay.id), relay]));
    let changed = false;
    for (const key of [...this.#relays.keys()]) {
      if (wanted.has(key)) continue;
      this.#relays.delete(key);
      changed = this.#forget(key) || changed;
    }
    for (const [key, relay] of wanted) {
      const url = relay.urls.join(' ');
      const known = this.#relays.get(key);
      if (known === undefined) {
        const waits = backoff({ ...SILENT, random });
        this.#relays.set(key, {
          key,
          dueAtMs: clock.now(),
          askedAtMs: Number.NEGATIVE_INFINITY,
          measuring: false,
          waits,
          url,
        });
      } else if (known.url !== url) {
        known.url = url;
        changed = this.#forget(key) || changed;
      }
    }
    if (changed) this.#options.onChange();
    this.#next();
  }

  /** A path through the relay has died: it is measured soon. The path may have died for another reason. */
  suspect(key: RelayKey): void {
    const relay = this.#relays.get(key);
    if (relay === undefined) return;
    relay.dueAtMs = Math.min(relay.dueAtMs, this.#components.clock.now() + SPACING_MS);
    this.#next();
  }

  /** Measures relays that did not answer last, because a pair may need them now. */
  verify(through: (key: RelayKey) => boolean): void {
    for (const relay of this.#relays.values()) {
      if (!this.#figures.has(relay.key) && through(relay.key))
        relay.dueAtMs = Math.min(relay.dueAtMs, relay.askedAtMs + SPACING_MS);
    }
    this.#next();
  }

  /** Measures everything anew: the network has changed. */
  restart(): void {
    const soonMs = this.#components.clock.now() + SPACING_MS;
    for (const relay of this.#relays.values()) relay.dueAtMs = Math.min(relay.dueAtMs, soonMs);
    this.#next();
  }

  async close(): Promise<void> {
    this.#closing.abort(new AbortedError('The paths were closed.'));
    this.#timer?.cancel();
    this.#registration[Symbol.dispose]();
    this.#transactions.close();
    while (this.#work.size > 0) await Promise.all(this.#work);
  }

  #forget(key: RelayKey): boolean {
    this.#addresses.delete(key);
    this.#overUdp.delete(key);
    return this.#figures.delete(key);
  }

  /** Begins what is due, a few at a time, and waits for the next. */
  #next(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#closing.signal.aborted) return;
    const nowMs = this.#components.clock.now();
    const waiting = [...this.#relays.values()]
      .filter(({ measuring }) => !measuring)
      .toSorted((a, b) => a.dueAtMs - b.dueAtMs);
    for (const relay of waiting) {
      if (this.#work.size >= MAX_AT_ONCE) return;
      if (relay.dueAtMs > nowMs) {
        this.#timer = this.#components.clock.timer(relay.dueAtMs - nowMs, () => this.#next());
        return;
      }
      relay.measuring = true;
      relay.askedAtMs = nowMs;
      const work = this.#measure(relay).then(() => {
        this.#work.delete(work);
        relay.measuring = false;
        this.#next();
      });
      this.#work.add(work);
    }
  }

  async #measure(relay: Measured): Promise<void> {
    const { clock, random, log } = this.#components;
    const { signal } = this.#closing;
    const { url } = relay;
    try {
      const { server, leastMs } = await this.#overAnything(relay.key, url, signal);
      relay.waits = backoff({ ...SILENT, random });
      relay.dueAtMs = clock.now() + AGAIN_MS * (0.9 + random.next() * 0.2);
      if (this.#relays.get(relay.key) === relay && relay.url === url) this.#answered(relay.key, server, leastMs);
    } catch (error) {
      if (isAbort(error) || signal.aborted) return;
      relay.dueAtMs = clock.now() + Math.max(SPACING_MS, relay.waits.next().value ?? SILENT.maxMs);
      log.debug(`A relay was not measured: ${errorMessage(error)}`);
      if (this.#forget(relay.key)) this.#options.onChange();
    }
  }

  async #overAnything(key: RelayKey, url: string, signal: AbortSignal): Promise<{ server: Endpoint; leastMs: number }> {
    try {
      const server = await this.#resolve(url, 'udp', signal);
      const leastMs = await leastOf(() => this.#request(server, signal));
      this.#overUdp.add(key);
      return { server, leastMs };
    } catch (error) {
      signal.throwIfAborted();
      this.#overUdp.delete(key);
      // UDP leaves this network: then it is the relay that does not answer.
      if (this.#overUdp.size > 0) throw error;
    }
    for (const transport of ['tcp', 'tls'] as const) {
      const measured = await this.#overStream(url, transport, signal).catch(() => undefined);
      signal.throwIfAborted();
      if (measured !== undefined) return measured;
    }
    throw new TowpathError('no-answer', 'The relay answers over no transport.');
  }

  async #overStream(
    url: string,
    transport: 'tcp' | 'tls',
    signal: AbortSignal,
  ): Promise<{ server: Endpoint; leastMs: number }> {
    using limit = deadline(this.#components.clock, STREAM_LIMIT_MS, signal);
    const server = await this.#resolve(url, transport, limit.signal);
    const tls = { serverName: server.name, moreAuthorities: this.#options.authorities };
    await using client = await StunClient.open(this.#components, { server, transport, tls, signal: limit.signal });
    const leastMs = await leastOf(async () => (await client.binding({ signal: limit.signal })).rttMs);
    return { server, leastMs };
  }

  #answered(key: RelayKey, server: Endpoint, rttMs: number): void {
    this.#addresses.set(key, server.address);
    const told = this.#figures.get(key);
    if (told !== undefined && Math.abs(told - rttMs) < Math.max(TOLD_MS, told * TOLD_RATIO)) return;
    this.#figures.set(key, roundFigure(rttMs));
    this.#options.onChange();
  }

  async #request(server: Endpoint, signal: AbortSignal): Promise<number | undefined> {
    const { message, from, rttMs } = await this.#transactions.request(server, {
      ...REQUEST,
      method: Method.Binding,
      signal,
    });
    if (!sameEndpoint(from, server) || message.class !== MessageClass.Success) {
      throw new TowpathError('no-answer', `${formatEndpoint(server)} is no STUN server.`);
    }
    return rttMs;
  }

  async #resolve(
    urls: string,
    transport: TransportProtocol,
    signal: AbortSignal,
  ): Promise<Endpoint & { readonly name: string }> {
    for (const url of urls.split(' ')) {
      const relay = parseRelayUrl(url);
      if (relay?.transport !== transport) continue;
      const address = await resolveRelay(this.#components.network, relay.host, signal);
      if (address !== undefined) return { address, port: relay.port, name: relay.host };
    }
    throw new TowpathError('no-answer', `The relay has no address for ${transport}.`);
  }
}

/** The least of some round trips, ms. @throws TowpathError `no-answer` when none could be told. */
async function leastOf(request: () => Promise<number | undefined>): Promise<number> {
  let leastMs = Number.POSITIVE_INFINITY;
  for (let count = 0; count < REQUESTS; count++) leastMs = Math.min(leastMs, (await request()) ?? leastMs);
  if (!Number.isFinite(leastMs)) throw new TowpathError('no-answer', 'Every request was repeated.');
  return leastMs;
}
