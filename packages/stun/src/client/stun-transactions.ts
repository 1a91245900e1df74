import { type Clock, type Random, retransmit, stunSchedule } from '@towpath/core';
import { type Endpoint, formatEndpoint } from '@towpath/net';
import type { Attribute } from '../message/attribute.ts';
import * as attributes from '../message/attributes.ts';
import { StunErrorCode } from '../message/error-codes.ts';
import { MessageClass, TRANSACTION_ID_BYTES } from '../message/header.ts';
import type { IntegrityKey } from '../message/integrity.ts';
import type { StunMessage } from '../message/stun-message.ts';
import { StunWriter } from '../message/stun-writer.ts';
import { lacksAlgorithms } from './long-term-auth.ts';
import { StunError } from './stun-error.ts';
import { RELIABLE_TIMEOUT_MS } from './stun-transport.ts';

/** How requests are repeated. Defaults are those of RFC 8489 §6.2.1 (39.5 s in all over UDP). */
export interface RetransmissionOptions {
  /** Time to the first repetition, ms; doubles each time. @default 500 */
  rtoMs?: number;
  /** How often a request is sent at most (Rc). @default 7 */
  maxSends?: number;
  /** The last wait in multiples of `rtoMs` (Rm). @default 16 */
  lastWaitFactor?: number;
  /** Wait for an answer when the transport is reliable and nothing is repeated (Ti), ms. @default 39500 */
  reliableTimeoutMs?: number;
}

export interface StunRequest extends RetransmissionOptions {
  method: number;
  /** Adds the attributes, without integrity and fingerprint. */
  write?(writer: StunWriter): void;
  /** Signs the request; a success that is not signed with it is ignored as if it had not come. */
  key?: IntegrityKey | undefined;
  /** @default 'sha1' */
  integrity?: 'sha1' | 'sha256';
  /** Ends with FINGERPRINT, for sockets that carry other protocols too. @default false */
  fingerprint?: boolean;
  signal?: AbortSignal | undefined;
}

export interface StunResponse {
  /** A success or an error response. */
  readonly message: StunMessage;
  /** Who sent it; not always whom the request went to. */
  readonly from: Endpoint;
  /** Round trip in ms; undefined when the request was repeated, because it is not known which copy was answered. */
  readonly rttMs: number | undefined;
}

export interface StunTransactionsComponents {
  clock: Clock;
  random: Random;
  /** Sends one request or a retransmission. The caller owns the socket. */
  send(data: Uint8Array, to: Endpoint): void;
  /** True over TCP and TLS: requests are sent once. @default false */
  reliable?: boolean;
}

interface Pending {
  readonly key: IntegrityKey | undefined;
  readonly integrity: 'sha1' | 'sha256';
  settle(response: StunResponse | Error): void;
  readonly startedAt: number;
  sends: number;
}

const KNOWN: ReadonlySet<number> = new Set(
  Object.values(attributes)
    .filter((value): value is Attribute<never> => typeof value === 'object')
    .map(({ type }) => type),
);

/**
 * Requests under way, over a socket that the caller owns: repeats them after RFC 8489 §6.2.1 and
 * matches the answers.
 */
export class StunTransactions {
  readonly #components: StunTransactionsComponents;
  readonly #defaults: RetransmissionOptions;
  readonly #pending = new Map<string, Pending>();

  constructor(components: StunTransactionsComponents, options: RetransmissionOptions = {}) {
    this.#components = components;
    this.#defaults = options;
  }

  /** How many requests wait for an answer. */
  get size(): number {
    return this.#pending.size;
  }

  /**
   * Sends a request and resolves with the answer, be it success or error.
   * @throws StunError `stun-timed-out`, `stun-bad-response`, `stun-closed`; the signal's reason.
   */
  request(to: Endpoint, request: StunRequest): Promise<StunResponse> {
    request.signal?.throwIfAborted();
    const { clock, random } = this.#components;
    const transactionId = random.bytes(TRANSACTION_ID_BYTES);
    const writer = new StunWriter(MessageClass.Request, request.method, transactionId);
    request.write?.(writer);
    if (request.key !== undefined) writer.integrity(request.key, request.integrity);
    if (request.fingerprint) writer.fingerprint();
    const bytes = writer.finish();
    const id = idOf(bytes);

    const { promise, resolve, reject } = Promise.withResolvers<StunResponse>();
    const pending: Pending = {
      key: request.key,
      integrity: request.integrity ?? 'sha1',
      startedAt: clock.now(),
      sends: 0,
      settle: (outcome) => {
        this.#pending.delete(id);
        if ('message' in outcome && 'from' in outcome) resolve(outcome);
        else reject(outcome);
      },
    };
    this.#pending.set(id, pending);
    const answered = retransmit({
      clock,
      schedule: this.#schedule({ ...this.#defaults, ...defined(request) }),
      send: (transmission) => {
        pending.sends = transmission;
        this.#components.send(bytes, to);
      },
      answer: promise,
      signal: request.signal,
      timeoutError: (transmissions) => timedOut(to, transmissions),
    });
    return answered.finally(() => this.#pending.delete(id));
  }

  /**
   * Takes a decoded message that came to the socket. Returns true when it was an answer to one of these
   * requests (whether usable or not), so that no other handler needs it.
   */
  handle(message: StunMessage, from: Endpoint): boolean {
    if (message.class !== MessageClass.Success && message.class !== MessageClass.Error) return false;
    const pending = this.#pending.get(idOf(message.bytes));
    if (pending === undefined) return false;
    if (!isAcceptable(message, pending)) return true;
    const unknown = message.unknownRequired(KNOWN);
    if (unknown.length > 0) {
      const names = unknown.map((type) => `0x${type.toString(16).padStart(4, '0')}`).join(', ');
      const text = `${formatEndpoint(from)} answered with attributes that Towpath does not know (${names}).`;
      pending.settle(new StunError('stun-bad-response', text, { target: formatEndpoint(from) }));
      return true;
    }
    const rttMs = pending.sends === 1 ? this.#components.clock.now() - pending.startedAt : undefined;
    pending.settle({ message, from, rttMs });
    return true;
  }

  /** Fails every request under way. Idempotent. */
  close(
    reason: Error = new StunError('stun-closed', 'The STUN requests were given up because their socket was closed.'),
  ): void {
    for (const pending of [...this.#pending.values()]) pending.settle(reason);
  }

  #schedule(options: RetransmissionOptions): Iterable<number> {
    const { rtoMs, maxSends, lastWaitFactor, reliableTimeoutMs = RELIABLE_TIMEOUT_MS } = options;
    if (this.#components.reliable) return [reliableTimeoutMs];
    return stunSchedule({
      ...(rtoMs !== undefined && { rtoMs }),
      ...(maxSends !== undefined && { transmissions: maxSends }),
      ...(lastWaitFactor !== undefined && { lastWaits: lastWaitFactor }),
    });
  }
}

function timedOut(to: Endpoint, transmissions: number): StunError {
  const target = formatEndpoint(to);
  const tries = transmissions === 1 ? 'one request' : `${transmissions} requests`;
  const text = `No answer from STUN server ${target} to ${tries}. Next: check the address, and whether a firewall drops it.`;
  return new StunError('stun-timed-out', text, { target });
}

/** False for what is ignored as if it had not come (RFC 8489 §9.1.4, §9.2.5). */
function isAcceptable(message: StunMessage, pending: Pending): boolean {
  const code = message.class === MessageClass.Error ? message.get(attributes.errorCode)?.code : undefined;
  const isChallenge = code === StunErrorCode.Unauthenticated || code === StunErrorCode.StaleNonce;
  if (!isChallenge && lacksAlgorithms(message)) return false;
  if (pending.key === undefined) return true;
  const integrity = message.checkIntegrity(pending.key);
  // Servers cannot sign an error for credentials that they do not know; anybody could have sent a 400.
  if (integrity === 'absent') return message.class === MessageClass.Error && code !== StunErrorCode.BadRequest;
  return integrity === 'valid' && signedAs(message, pending);
}

/** An answer must be signed by the algorithm of its request, or it lowers what was agreed (RFC 8489 §9.1.4, §9.2.5). */
function signedAs(message: StunMessage, { integrity }: Pending): boolean {
  return message.has(integrity === 'sha256' ? attributes.messageIntegritySha256 : attributes.messageIntegrity);
}

/** The transaction id as a map key. */
function idOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + 8, TRANSACTION_ID_BYTES).toString('latin1');
}

/** The retransmission settings that a request sets itself. */
function defined(request: RetransmissionOptions): RetransmissionOptions {
  const own: RetransmissionOptions = {};
  for (const name of ['rtoMs', 'maxSends', 'lastWaitFactor', 'reliableTimeoutMs'] as const) {
    if (request[name] !== undefined) own[name] = request[name];
  }
  return own;
}
