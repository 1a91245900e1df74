import type { Clock, Random } from '@towpath/core';
import { addressScope, type Endpoint, formatEndpoint, isPort, type Network, type TlsClientOptions } from '@towpath/net';
import * as attr from '../message/attributes.ts';
import { MessageClass, Method } from '../message/header.ts';
import { shortTermKey } from '../message/integrity.ts';
import { decodeStun, type StunMessage } from '../message/stun-message.ts';
import type { StunWriter } from '../message/stun-writer.ts';
import { type StunTransport, isStream, openStunTransport, type TransportProtocol } from './stun-transport.ts';
import { LongTermAuth, type LongTermCredentials } from './long-term-auth.ts';
import { StunError } from './stun-error.ts';
import {
  type RetransmissionOptions,
  type StunRequest,
  type StunResponse,
  StunTransactions,
} from './stun-transactions.ts';

export interface StunClientComponents {
  network: Network;
  clock: Clock;
  random: Random;
}

/** Credentials that belong to one exchange (RFC 8489 §9.1), or to the server's realm (§9.2). */
export type StunCredentials =
  | ({ readonly kind: 'short-term' } & LongTermCredentials)
  | ({ readonly kind: 'long-term' } & LongTermCredentials);

export interface StunClientOptions extends RetransmissionOptions {
  server: Endpoint;
  /** @default 'udp' */
  transport?: TransportProtocol;
  tls?: TlsClientOptions;
  localAddress?: string;
  localPort?: number;
  credentials?: StunCredentials;
  /** Closes the client when it aborts, also while connecting. */
  signal?: AbortSignal | undefined;
}

/** What a Binding request tells. */
export interface BindingResult {
  /** Our address as the server sees it. */
  readonly mapped: Endpoint;
  /** Where the answer came from. */
  readonly from: Endpoint;
  /** The server's other address, when it has one (RFC 5780 §7.4). */
  readonly other: Endpoint | undefined;
  readonly software: string | undefined;
  readonly rttMs: number | undefined;
}

/** A client of one STUN server over a socket or connection of its own. */
export class StunClient implements AsyncDisposable {
  readonly #channel: StunTransport;
  readonly #transactions: StunTransactions;
  readonly #options: StunClientOptions;
  readonly #longTerm: LongTermAuth | undefined;

  private constructor(
    { channel, transactions }: { channel: StunTransport; transactions: StunTransactions },
    options: StunClientOptions,
  ) {
    this.#channel = channel;
    this.#transactions = transactions;
    this.#options = options;
    this.#longTerm = options.credentials?.kind === 'long-term' ? new LongTermAuth(options.credentials) : undefined;
  }

  /**
   * Binds a socket, or opens the connection to the server.
   * @throws NetError as {@link Network.bindUdp} and {@link Network.connectTcp} do; StunError `stun-timed-out`; the signal's
   *   reason.
   */
  static async open(components: StunClientComponents, options: StunClientOptions): Promise<StunClient> {
    const { network, clock, random } = components;
    const { server } = options;
    const transport = options.transport ?? 'udp';
    const transactions = new StunTransactions(
      { clock, random, reliable: isStream(transport), send: (data) => channel.send(data) },
      options,
    );
    const channel = await openStunTransport({ network, clock }, server, {
      ...options,
      openLimitMs: options.reliableTimeoutMs,
      transport,
      onFrame(frame, from) {
        const result = decodeStun(frame);
        if (result.ok) transactions.handle(result.message, from);
      },
      onClose: (error) => transactions.close(error),
    });
    return new StunClient({ channel, transactions }, options);
  }

  get local(): Endpoint {
    return this.#channel.local;
  }

  get server(): Endpoint {
    return this.#channel.server;
  }

  /**
   * Asks for our own address as the server sees it (RFC 8489 §2).
   * @throws StunError; the signal's reason.
   */
  async binding(options: { signal?: AbortSignal } = {}): Promise<BindingResult> {
    const response = await this.request({ method: Method.Binding, signal: options.signal });
    return bindingResult(response);
  }

  /**
   * Sends a request with the client's credentials and resolves with the success response.
   * @throws StunError `stun-refused`, `stun-unauthenticated`, `stun-timed-out`, `stun-closed`.
   */
  async request(request: StunRequest): Promise<StunResponse> {
    const credentials = this.#options.credentials;
    if (credentials?.kind === 'short-term') {
      const { username, password } = credentials;
      const signed = {
        ...request,
        key: shortTermKey(password),
        write: writing(request, (writer) => writer.add(attr.username, username)),
      };
      return successOf(await this.#transactions.request(this.server, signed), this.server);
    }
    const auth = this.#longTerm;
    if (auth === undefined) return successOf(await this.#transactions.request(this.server, request), this.server);
    return requestWithAuth(this.#transactions, auth, this.server, request);
  }

  /** Fails the requests under way and closes the socket. Idempotent. */
  async close(): Promise<void> {
    this.#transactions.close();
    await this.#channel.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** A realm change and a stale nonce may follow one another; a server that challenges more often fails. */
const MAX_CHALLENGES = 3;

/**
 * Sends a request under long-term credentials, answering the server's challenges (RFC 8489 §9.2.5).
 * @throws StunError `stun-refused`, `stun-unauthenticated`, `stun-timed-out`, `stun-closed`.
 */
export async function requestWithAuth(
  transactions: StunTransactions,
  auth: LongTermAuth,
  server: Endpoint,
  request: StunRequest,
): Promise<StunResponse> {
  for (let challenges = 0; ; challenges++) {
    const { key } = auth;
    const response = await transactions.request(server, {
      ...request,
      key,
      integrity: auth.integrity,
      write: writing(request, (writer) => auth.write(writer)),
    });
    const refused = response.message.class === MessageClass.Error;
    if (!refused || challenges >= MAX_CHALLENGES || !auth.challenged(response.message, key))
      return successOf(response, server);
  }
}

function writing(request: StunRequest, more: (writer: StunWriter) => void): (writer: StunWriter) => void {
  return (writer) => {
    request.write?.(writer);
    more(writer);
  };
}

/** The response when it is a success. @throws StunError that says why not. */
export function successOf(response: StunResponse, server: Endpoint): StunResponse {
  if (response.message.class === MessageClass.Success) return response;
  const target = formatEndpoint(server);
  const error = response.message.get(attr.errorCode);
  if (error === undefined) {
    throw new StunError('stun-bad-response', `${target} answered with an error that has no error code.`, { target });
  }
  const text = `${target} refused: ${error.code} ${error.reason}.`;
  if (error.code === 401 || error.code === 441) {
    throw new StunError('stun-unauthenticated', `${text} Check user name and password.`, { target, response: error });
  }
  throw new StunError('stun-refused', text, {
    target,
    response: error,
    alternate: response.message.get(attr.alternateServer),
  });
}

/** Reads the answer to a Binding request. @throws StunError `stun-bad-response` when it has no address. */
export function bindingResult({ message, from, rttMs }: StunResponse): BindingResult {
  const mapped = mappedAddressOf(message);
  if (mapped === undefined) {
    const target = formatEndpoint(from);
    throw new StunError(
      'stun-bad-response',
      `${target} answered a Binding request without an address that can be ours.`,
      { target },
    );
  }
  return { mapped, from, other: otherAddressOf(message), software: message.get(attr.software), rttMs };
}

/** XOR-MAPPED-ADDRESS, or the MAPPED-ADDRESS of old servers; undefined when it is no address of a host. */
export function mappedAddressOf(message: StunMessage): Endpoint | undefined {
  const mapped = message.get(attr.xorMappedAddress) ?? message.get(attr.mappedAddress);
  return mapped !== undefined && isHostEndpoint(mapped) ? mapped : undefined;
}

/** OTHER-ADDRESS; undefined when nothing can be sent there. */
function otherAddressOf(message: StunMessage): Endpoint | undefined {
  const other = message.get(attr.otherAddress);
  return other !== undefined && isHostEndpoint(other) ? other : undefined;
}

/** False for port 0, and for addresses that are of no host: unspecified, multicast, broadcast. */
function isHostEndpoint({ address, port }: Endpoint): boolean {
  const scope = addressScope(address);
  return isPort(port) && scope !== 'unspecified' && scope !== 'multicast' && scope !== 'broadcast';
}
