import { backoff, type Random, RoundTripEstimator } from '@towpath/core';
import { type Endpoint, formatEndpoint, sameEndpoint } from '@towpath/net';
import { ResultCode } from '../codec/codes.ts';
import { PpppError, type PpppErrorCode } from '../pppp-error.ts';

/** Before anything is known of a server's round trip; never sooner; and the protocol's own interval (spec §5.1). */
const REPEAT_MS = { initialMs: 250, minMs: 100, maxMs: 1000 } as const;
const REPEAT_GROWTH = 1.3;

/** Every so many requests one goes out without padding, for servers that are strict about a datagram's length. */
const BARE_EVERY = 3;

/** One peer that requests go to until they are answered: its measured round trip decides when they are repeated. */
export class Asked {
  readonly endpoint: Endpoint;
  readonly rtt: RoundTripEstimator = new RoundTripEstimator(REPEAT_MS);
  readonly #random: Random;
  #delays: Iterator<number>;
  #sentAt = 0;
  /** Requests so far. */
  tries = 0;
  /** It has answered anything. */
  heard = false;
  /** When to ask (again). */
  nextAt: number;

  constructor(endpoint: Endpoint, random: Random, now: number) {
    this.endpoint = endpoint;
    this.#random = random;
    this.#delays = this.#schedule();
    this.nextAt = now;
  }

  /** Whether this request is one of those that are padded to pay for a full answer. */
  get padded(): boolean {
    return this.tries % BARE_EVERY !== BARE_EVERY - 1;
  }

  /** A request was sent. */
  asked(now: number): void {
    this.tries++;
    this.#sentAt = now;
    this.nextAt = now + (this.#delays.next().value as number);
  }

  /** Something came from there. The first answer is the measure of the round trip. @returns true for the first */
  answered(now: number): boolean {
    if (this.heard) return false;
    this.heard = true;
    this.rtt.sample(now - this.#sentAt);
    this.#delays = this.#schedule();
    this.nextAt = this.#sentAt + (this.#delays.next().value as number);
    return true;
  }

  /** There is something new to ask: at once, and soon again. */
  restart(now: number): void {
    this.#delays = this.#schedule();
    this.nextAt = now;
  }

  #schedule(): Iterator<number> {
    return backoff({ baseMs: this.rtt.timeoutMs, factor: REPEAT_GROWTH, maxMs: REPEAT_MS.maxMs, random: this.#random });
  }
}

/** A rendezvous server as a client sees it. */
export class Server extends Asked {
  /** Result byte of its last acknowledgement; undefined before. */
  result: number | undefined;
  /** Our address as it sees us. */
  wan: Endpoint | undefined;
  /** It has sent its list of relays. */
  listed = false;
}

/** All servers of an attempt, and what they say together. */
export class ServerPanel {
  readonly servers: readonly Server[];
  readonly #uid: string;
  readonly #silentAt: number;

  /** @throws PpppError `bad-argument` without servers. */
  constructor(uid: string, endpoints: readonly Endpoint[], random: Random, now: number, patienceMs: number) {
    if (endpoints.length === 0) {
      throw new PpppError('bad-argument', `No rendezvous server was named for ${uid}. Give at least one.`, {
        target: uid,
      });
    }
    const distinct = endpoints.filter((one, at) => endpoints.findIndex((other) => sameEndpoint(one, other)) === at);
    this.servers = distinct.map((endpoint) => new Server(endpoint, random, now));
    this.#uid = uid;
    this.#silentAt = now + patienceMs;
  }

  find(from: Endpoint): Server | undefined {
    return this.servers.find(({ endpoint }) => sameEndpoint(endpoint, from));
  }

  /** When the next request or the end of patience is due. */
  nextAt(now: number): number {
    let next = Number.POSITIVE_INFINITY;
    for (const server of this.servers) next = Math.min(next, server.nextAt);
    return this.#silentAt > now ? Math.min(next, this.#silentAt) : next;
  }

  /** A server that has said nothing so far and will not be waited for any longer. */
  isSilent(server: Server, now: number): boolean {
    return !server.heard && now >= this.#silentAt;
  }

  /** The error when no server has answered within its time. */
  unreachable(now: number): PpppError | undefined {
    return this.servers.every((server) => this.isSilent(server, now)) ? this.silence() : undefined;
  }

  /** The error for servers that have said nothing. */
  silence(): PpppError {
    const names = this.servers.map(({ endpoint }) => formatEndpoint(endpoint)).join(', ');
    return new PpppError(
      'server-unreachable',
      `No answer from any rendezvous server (${names}). Check the addresses, that this host is online, and that its firewall lets it out.`,
      { target: this.#uid },
    );
  }

  /** The error when every server has refused or is silent; success of one outweighs everything (spec §5.1). */
  refusal(now: number): PpppError | undefined {
    const results = new Set<number>();
    for (const server of this.servers) {
      if (server.result === undefined && this.isSilent(server, now)) continue;
      if (server.result === undefined || server.result === ResultCode.OK) return undefined;
      results.add(server.result);
    }
    for (const { result, code, advice } of REFUSALS) if (results.has(result)) return this.#refused(code, advice);
    return results.size === 0 ? undefined : this.#refused(OFFLINE.code, OFFLINE.advice);
  }

  #refused(code: PpppErrorCode, advice: string): PpppError {
    return new PpppError(code, `The servers do not connect ${this.#uid}: ${advice}`, { target: this.#uid });
  }
}

const OFFLINE = {
  result: ResultCode.DEVICE_OFFLINE,
  code: 'device-offline',
  advice: 'it is not logged in. Check that it is on and online, and that it uses the same servers.',
} as const;

/** The most telling first. */
const REFUSALS: readonly { result: number; code: PpppErrorCode; advice: string }[] = [
  {
    result: ResultCode.WRONG_KEY,
    code: 'wrong-secret',
    advice: 'its secret (DSK) is wrong or missing. Give the one that the device has.',
  },
  { result: ResultCode.INVALID_UID, code: 'wrong-uid', advice: 'its UID or check code is wrong. Correct it.' },
  OFFLINE,
  {
    result: ResultCode.PREFIX_NOT_SERVED,
    code: 'unknown-device',
    advice: 'devices with this prefix are not served there. Name the servers of its network.',
  },
];
