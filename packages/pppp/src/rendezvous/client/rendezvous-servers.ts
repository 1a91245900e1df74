import { type Clock, type Random, RequestSchedule } from '@towpath/core';
import { type Endpoint, formatEndpoint, sameEndpoint } from '@towpath/net';
import { ResultCode } from '../../codec/codes.ts';
import type { Message } from '../../codec/message.ts';
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

/**
 * Datagrams from a server's address that no server sends, after which it counts as none. One or two may come from
 * somebody else, or from an earlier user of the port.
 */
const FOREIGN_ANSWERS = 3;

/** Requests of clients: what returns them is an echo. */
const REQUESTS: ReadonlySet<Message['type']> = new Set([
  'HELLO',
  'P2P_REQ',
  'P2P_REQ_DSK',
  'LIST_REQ1',
  'LIST_REQ_DSK',
  'RLY_REQ',
  'RLY_HELLO',
  'RLY_PORT',
] as const);

/** A rendezvous server as a client sees it. */
export class Server extends PendingRequest {
  /** Result byte of its last acknowledgement; undefined before. */
  result: number | undefined;
  /** Our address as it sees us. */
  wan: Endpoint | undefined;
  /** It has sent its list of relays. */
  listed = false;
  /** Its host reports the port as closed (ICMP port unreachable). An answer outweighs that. */
  portIsClosed = false;
  #foreign = 0;

  /** Whether anything came from its port, which is then open. */
  get portIsOpen(): boolean {
    return this.answered || this.#foreign > 0;
  }

  /** Whether it answers, but not as a PPPP server. */
  get isForeign(): boolean {
    return !this.answered && this.#foreign >= FOREIGN_ANSWERS;
  }

  /** Takes a datagram from it that no server sends. Returns true when {@link isForeign} has become true. */
  heardForeign(): boolean {
    this.#foreign++;
    return !this.answered && this.#foreign === FOREIGN_ANSWERS;
  }
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

  /** True for the port of a server from which anything came. */
  isOpen(port: Endpoint): boolean {
    return this.find(port)?.portIsOpen ?? false;
  }

  get endpoints(): readonly Endpoint[] {
    return this.servers.map(({ endpoint }) => endpoint);
  }

  find(from: Endpoint): Server | undefined {
    return this.servers.find(({ endpoint }) => sameEndpoint(endpoint, from));
  }

  /** Takes that a host reports the port of a server as closed. */
  portClosed(port: Endpoint): void {
    const server = this.find(port);
    if (server !== undefined) server.portIsClosed = true;
  }

  /** Takes what is no PPPP message. Returns true when one more server is known to be none. */
  heardForeign(from: Endpoint): boolean {
    return this.find(from)?.heardForeign() ?? false;
  }

  /** Returns the server that sent a message, unless it only returned a request; {@link heardForeign} counts that. */
  answering({ type }: Message, from: Endpoint): Server | undefined {
    return REQUESTS.has(type) ? undefined : this.find(from);
  }

  /** Time of the next request, or of the time limit. */
  nextAt(now: number): number {
    let next = Number.POSITIVE_INFINITY;
    for (const server of this.servers) next = Math.min(next, server.dueAtMs);
    return this.#silentAt > now ? Math.min(next, this.#silentAt) : next;
  }

  /** True for a server that is none, whose port is closed, or that has not answered within its time. */
  isLost(server: Server, now: number): boolean {
    return (
      server.isForeign || (!server.answered && ((server.portIsClosed && !server.portIsOpen) || now >= this.#silentAt))
    );
  }

  /** The error when every server is lost. */
  unreachable(now: number): PpppError | undefined {
    return this.servers.every((server) => this.isLost(server, now)) ? this.noServer() : undefined;
  }

  /** Returns the error for servers none of which has answered as one. */
  noServer(): PpppError {
    const target = this.#uid;
    const foreign = this.servers.filter(({ isForeign }) => isForeign);
    const others = this.servers.filter(({ isForeign }) => !isForeign);
    const closed = others.filter(({ portIsClosed, portIsOpen }) => portIsClosed && !portIsOpen);
    const silent = others.filter((server) => !closed.includes(server));
    if (foreign.length === 0) {
      return new PpppError('server-unreachable', unansweredText(silent, closed), { target });
    }
    const rest = [
      silent.length === 0 ? '' : `, and ${namesOf(silent)} did not answer`,
      closed.length === 0 ? '' : `, and the port is closed at ${namesOf(closed)}`,
    ].join('');
    const message = `${namesOf(foreign)} answered with something that is not PPPP${rest}. Next: check the addresses and ports of the rendezvous servers, and the network key where there is one.`;
    return new PpppError(others.length === 0 ? 'not-pppp' : 'server-unreachable', message, { target });
  }

  /**
   * The error when every server has refused or is lost; success of one outweighs everything (docs/protocol/pppp.md,
   * "Rendezvous messages").
   */
  refusal(now: number): PpppError | undefined {
    const results = new Set<number>();
    for (const server of this.servers) {
      if (server.result === undefined && this.isLost(server, now)) continue;
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

function unansweredText(silent: readonly Server[], closed: readonly Server[]): string {
  const refused = `${namesOf(closed)} (ICMP port unreachable)`;
  if (silent.length === 0)
    return `Port closed: no rendezvous server runs at ${refused}. Next: check the addresses and ports, and that the servers run.`;
  const more = closed.length === 0 ? '' : `; port closed at ${refused}`;
  return `No answer from any rendezvous server (${namesOf(silent)})${more}. Next: check the addresses, the network, and the firewall of this host.`;
}

function namesOf(servers: readonly Server[]): string {
  return servers.map(({ endpoint }) => formatEndpoint(endpoint)).join(', ');
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
