import { type Clock, deadline, errorMessage, type Log, Repeat, silentLog } from '@towpath/core';
import { type Endpoint, formatEndpoint, type Network, type UdpSocket } from '@towpath/net';
import type { StreamCipher } from '../cipher/stream-cipher.ts';
import { decodeMessage, encodeMessage } from '../codec/message.ts';
import { SearchSchedule } from './search-schedule.ts';
import { LOOPBACK, type SearchTargets } from './targets.ts';

const LAN_SEARCH: Uint8Array = encodeMessage({ type: 'LAN_SEARCH' });

/** Most devices that one search reports; more are forged. */
const MAX_FOUND = 1024;

/** A device that answered a search. */
export interface FoundDevice {
  readonly uid: string;
  /** Its address and listen port: where a session is opened. */
  readonly endpoint: Endpoint;
  /**
   * Local address of the interface that it answered through, where the host has several; else undefined. Two devices
   * in different networks may have the same address.
   */
  readonly localAddress: string | undefined;
  /** The cipher that it answered in, undefined for plaintext. */
  readonly cipher: StreamCipher | undefined;
  /** Time from the start of the search to its first answer, in ms. */
  readonly afterMs: number;
}

export interface SearchLanOptions extends SearchTargets {
  network: Network;
  clock: Clock;
  log?: Log | undefined;
  /** How long to search, in ms. @default 1450 */
  durationMs?: number;
  /** Ciphers to search in at once, undefined for plaintext. @default plaintext only */
  ciphers?: readonly (StreamCipher | undefined)[];
  /** Local address to search from. @default all addresses */
  localAddress?: string;
  /** Ends the search at once. */
  signal?: AbortSignal | undefined;
}

/** Time limit of the recorded application (docs/protocol/pppp.md, "Timers"). */
const DEFAULT_DURATION_MS = 1450;

/**
 * Searches the LAN and yields each device once, as soon as it answers. Punches are not returned, so no device opens a
 * session.
 *
 * @example
 * for await (const { uid, endpoint } of searchLan({ network, clock })) console.log(uid, endpoint.address,
 * endpoint.port);
 * @throws PpppError `bad-argument`; NetError when no socket can be bound; the signal's reason when it aborts.
 */
export async function* searchLan(options: SearchLanOptions): AsyncGenerator<FoundDevice, void> {
  const { clock, signal, durationMs = DEFAULT_DURATION_MS } = options;
  signal?.throwIfAborted();
  const startedAt = clock.now();
  const known = new Set<string>();
  const found: FoundDevice[] = [];
  let wake = () => {};
  const take = ({ uid, cipher }: Answer, endpoint: Endpoint, localAddress: string | undefined) => {
    const key = `${uid} ${formatEndpoint(endpoint)} ${localAddress}`;
    if (known.size === MAX_FOUND || known.has(key)) return;
    known.add(key);
    found.push({ uid, cipher, endpoint: { ...endpoint }, localAddress, afterMs: clock.now() - startedAt });
    wake();
  };
  const searches = await openSearches(options, take);
  using limit = deadline(clock, durationMs, signal);
  limit.signal.addEventListener('abort', () => wake(), { once: true });
  try {
    if (!signal?.aborted) for (const search of searches) search.start();
    while (!signal?.aborted) {
      const device = found.shift();
      if (device !== undefined) yield device;
      else if (limit.signal.aborted) break;
      else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    for (const search of searches) await search.close();
  }
  signal?.throwIfAborted();
}

interface Answer {
  uid: string;
  cipher: StreamCipher | undefined;
}

type TakeAnswer = (answer: Answer, from: Endpoint, localAddress: string | undefined) => void;

/**
 * One search for each interface: a socket that is bound to no address broadcasts through one interface only, and does
 * not tell through which one an answer came.
 */
async function openSearches(options: SearchLanOptions, take: TakeAnswer): Promise<SocketSearch[]> {
  const { network, localAddress, broadcast = true } = options;
  const own = network.interfaces().filter(({ family, internal }) => family === 4 && !internal);
  const several = broadcast && localAddress === undefined && own.length > 1;
  const searches: SocketSearch[] = [];
  try {
    if (!several) return [await SocketSearch.open(options, { localAddress, broadcast }, take)];
    const here = network.interfaces().some(({ internal }) => internal) ? [LOOPBACK] : [];
    const single = { ...options, hosts: [...(options.hosts ?? []), ...here] };
    searches.push(await SocketSearch.open(single, { localAddress, broadcast: false }, take));
    for (const { address } of own) {
      searches.push(await SocketSearch.open(onlyBroadcast(options), { localAddress: address, broadcast }, take));
    }
    return searches;
  } catch (error) {
    for (const search of searches) await search.close();
    throw error;
  }
}

/** Single hosts and subnets are searched once, along the routes of this host. */
function onlyBroadcast({ hosts: _hosts, subnets: _subnets, ...options }: SearchLanOptions): SearchLanOptions {
  return options;
}

/** A search through one socket. */
class SocketSearch {
  readonly #ciphers: readonly (StreamCipher | undefined)[];
  readonly #schedule: SearchSchedule;
  readonly #socket: UdpSocket;
  readonly #probes: Repeat;

  private constructor(
    { clock, schedule, socket }: { clock: Clock; schedule: SearchSchedule; socket: UdpSocket },
    { ciphers }: { ciphers: readonly (StreamCipher | undefined)[] },
  ) {
    this.#ciphers = ciphers;
    this.#schedule = schedule;
    this.#socket = socket;
    this.#probes = new Repeat({ clock }, { run: () => this.#sendProbes() });
  }

  static async open(
    options: SearchLanOptions,
    { localAddress, broadcast }: { localAddress: string | undefined; broadcast: boolean },
    take: TakeAnswer,
  ): Promise<SocketSearch> {
    const { network, clock, log = silentLog, ciphers = PLAIN } = options;
    const schedule = new SearchSchedule(network, clock, { ...options, broadcast }, localAddress);
    const several = localAddress !== undefined && options.localAddress === undefined;
    const socket = await network.bindUdp({
      ...(localAddress === undefined ? {} : { address: localAddress }),
      broadcast: true,
      onMessage(data, from) {
        const answer = readAnswer(data, ciphers);
        if (answer === undefined) return;
        schedule.answered();
        take(answer, from, several ? localAddress : undefined);
      },
      onError: (error) => log.debug('a search could not be sent', { error: errorMessage(error) }),
    });
    return new SocketSearch({ clock, schedule, socket }, { ciphers });
  }

  /** Sends what is due, now and later. */
  start(): void {
    this.#probes.wake();
  }

  #sendProbes(): number {
    this.#schedule.sendProbes((to) => {
      for (const cipher of this.#ciphers) {
        this.#socket.send(cipher === undefined ? LAN_SEARCH : cipher.encipher(LAN_SEARCH), to);
      }
    });
    return this.#schedule.pauseMs;
  }

  async close(): Promise<void> {
    this.#probes.stop();
    await this.#socket.close();
  }
}

const PLAIN: readonly undefined[] = [undefined];

function readAnswer(data: Uint8Array, ciphers: readonly (StreamCipher | undefined)[]): Answer | undefined {
  for (const cipher of ciphers) {
    const message = decodeMessage(cipher === undefined ? data : cipher.decipher(data));
    if (message.type === 'PUNCH_PKT') return { uid: message.uid, cipher };
  }
  return undefined;
}
