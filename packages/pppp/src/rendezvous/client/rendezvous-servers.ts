import { type Clock, type Random, RequestSchedule } from '@towpath/core';
import { type Endpoint, formatEndpoint, sameEndpoint } from '@towpath/net';
import { ResultCode } from '../../codec/codes.ts';
import { PpppError, type PpppErrorCode } from '../../pppp-error.ts';

/** To whom, and when for the first time, `Clock.now` ms. */
export interface PendingRequestOptions {
  endpoint: Endpoint;
  startAtMs: number;
}

/**
 * Before anything is known of a server's round trip; never sooner; and the protocol's own interval
 * (docs/protocol/pppp.md, "Rendezvous messages").
 */
const REPEAT_MS = { initialMs: 250, minMs: 100, maxMs: 1000 } as const;
const REPEAT_GROWTH = 1.3;

/** Every so many requests one goes out without padding, for servers that are strict about a datagram's length. */
const BARE_EVERY = 3;

/** A peer that gets requests until they are answered: its measured round trip determines retransmissions. */
export class PendingRequest extends RequestSchedule {
  readonly endpoint: Endpoint;

  constructor(components: { random: Random }, { endpoint, startAtMs }: PendingRequestOptions) {
    super(components, { roundTrip: REPEAT_MS, growth: REPEAT_GROWTH, startAtMs });
    this.endpoint = endpoint;
  }

  /** Whether the next request is one of those that are padded to pay for a full answer. */
  get padded(): boolean {
    return this.transmissions % BARE_EVERY !== BARE_EVERY - 1;
  }
}

/** A rendezvous server as a client sees it. */
export class Server extends PendingRequest {
  /** Result byte of its last acknowledgement; undefined before. */
  result: number | undefined;
  /** Our address as it sees us. */
  wan: Endpoint | undefined;
  /** It has sent its list of relays. */
  listed = false;
}

export interface RendezvousServersOptions {
  uid: string;
  endpoints: readonly Endpoint[];
  /** Without any answer by then a server counts as silent, ms. */
  patienceMs: number;
}

/** All servers of an attempt and their combined result. */
export class RendezvousServers {
  readonly servers: readonly Server[];
  readonly #uid: string;
  readonly #silentAt: number;

  /** @throws PpppError `bad-argument` without servers. */
  constructor({ clock, random }: { clock: Clock; random: Random }, options: RendezvousServersOptions) {
    const { uid, endpoints, patienceMs } = options;
    const startAtMs = clock.now();
    if (endpoints.length === 0) {
      throw new PpppError('bad-argument', `No rendezvous server was given for ${uid}. Next: add at least one.`, {
        target: uid,
      });
    }
    const distinct = endpoints.filter((one, at) => endpoints.findIndex((other) => sameEndpoint(one, other)) === at);
    this.servers = distinct.map((endpoint) => new Server({ random }, { endpoint, startAtMs }));
    this.#uid = uid;
    this.#silentAt = startAtMs + patienceMs;
  }

  find(from: Endpoint): Server | undefined {
    return this.servers.find(({ endpoint }) => sameEndpoint(endpoint, from));
  }

  /** Time of the next request, or of the time limit. */
  nextAt(now: number): number {
    let next = Number.POSITIVE_INFINITY;
    for (const server of this.servers) next = Math.min(next, server.dueAtMs);
    return this.#silentAt > now ? Math.min(next, this.#silentAt) : next;
  }

  /** True for a server without any answer whose time limit is over. */
  isSilent(server: Server, now: number): boolean {
    return !server.answered && now >= this.#silentAt;
  }

  /** The error when no server has answered within its time. */
  unreachable(now: number): PpppError | undefined {
    return this.servers.every((server) => this.isSilent(server, now)) ? this.silence() : undefined;
  }

  /** Returns the error for servers without any answer. */
  silence(): PpppError {
    const names = this.servers.map(({ endpoint }) => formatEndpoint(endpoint)).join(', ');
    return new PpppError(
      'server-unreachable',
      `No answer from any rendezvous server (${names}). Next: check the addresses, the network, and the firewall of this host.`,
      { target: this.#uid },
    );
  }

  /**
   * The error when every server has refused or is silent; success of one outweighs everything (docs/protocol/pppp.md,
   * "Rendezvous messages").
   */
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
    return new PpppError(code, `Rendezvous rejected ${this.#uid}: ${advice}`, { target: this.#uid });
  }
}

const OFFLINE = {
  result: ResultCode.DEVICE_OFFLINE,
  code: 'device-offline',
  advice: 'it is not logged in. Next: check that it is on and online, and uses the same servers.',
} as const;

/** The most specific first. */
const REFUSALS: readonly { result: number; code: PpppErrorCode; advice: string }[] = [
  {
    result: ResultCode.WRONG_KEY,
    code: 'wrong-secret',
    advice: 'its secret (DSK) is wrong or missing. Next: use the secret of the device.',
  },
  { result: ResultCode.INVALID_UID, code: 'wrong-uid', advice: 'its UID or check code is wrong. Next: correct it.' },
  OFFLINE,
  {
    result: ResultCode.PREFIX_NOT_SERVED,
    code: 'unknown-device',
    advice: 'the servers do not serve devices with this prefix. Next: use the servers of its network.',
  },
];
