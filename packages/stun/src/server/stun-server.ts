import { type Clock, type Log, silentLog } from '@towpath/core';
import { type Endpoint, formatEndpoint, type Network, type UdpSocket } from '@towpath/net';
import * as attr from '../message/attributes.ts';
import { StunErrorCode } from '../message/error-codes.ts';
import { MessageClass, Method } from '../message/header.ts';
import { decodeStun, type StunMessage } from '../message/stun-message.ts';
import { AnswerLimit } from './answer-limit.ts';
import { BindingResponder, errorResponse, unknownAttributes } from './binding-responder.ts';

export interface StunServerComponents {
  network: Network;
  clock: Clock;
  log?: Log | undefined;
}

export interface StunServerOptions {
  /** Address to listen on. */
  address: string;
  /** @default 3478 */
  port?: number;
  /**
   * A second address of this host and a second port, from which answers can be sent on request: what NAT
   * behaviour discovery needs (RFC 5780 §6). Either alone gives a part of it.
   */
  alternate?: { address?: string | undefined; port?: number | undefined };
  /** Addresses announced to clients instead of these, behind a one-to-one NAT. */
  announce?: Readonly<Record<string, string>>;
  /** Sent as SOFTWARE. */
  software?: string;
  /** Answers to one network (IPv4 /24, IPv6 /56) per second; Infinity is no limit. @default 500 */
  answersPerSecond?: number;
  /** Answers to all networks together per second; Infinity is no limit. @default 20000 */
  answersPerSecondTotal?: number;
  signal?: AbortSignal | undefined;
}

/** Counters; a snapshot. */
export interface StunServerStats {
  /** Answers, errors included. */
  answered: number;
  /** Datagrams that are no Binding request. */
  ignored: number;
  /** Requests that were not answered because of a limit. */
  limited: number;
}

/**
 * A STUN server for Binding requests over UDP, with CHANGE-REQUEST where it has the addresses for it.
 * It keeps no state about clients.
 *
 * @example await using server = await StunServer.listen({ network: new NodeNetwork(), clock: new SystemClock() }, {
 * address: '127.0.0.1', port: 0 });
 */
export class StunServer implements AsyncDisposable {
  readonly #log: Log;
  /** By address index (0 or 1), then port index. */
  #sockets: UdpSocket[][] = [];
  #responders: BindingResponder[][] = [];
  readonly #limit: AnswerLimit;
  #answered = 0;
  #limited = 0;
  #ignored = 0;

  private constructor(components: StunServerComponents, options: StunServerOptions) {
    const { answersPerSecond = 500, answersPerSecondTotal = 20_000 } = options;
    this.#limit = new AnswerLimit(components, {
      perNetworkPerSecond: answersPerSecond,
      perSecond: answersPerSecondTotal,
    });
    this.#log = (components.log ?? silentLog).child('STUN');
  }

  /**
   * Binds every socket of the server.
   * @throws NetError as {@link Network.bindUdp}; then nothing stays bound.
   */
  static async listen(components: StunServerComponents, options: StunServerOptions): Promise<StunServer> {
    const server = new StunServer(components, options);
    try {
      await server.#bind(components.network, options);
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  /** The main address and port, as bound. */
  get local(): Endpoint {
    return this.#sockets[0]![0]!.local;
  }

  /** The other ports, on which clients test the behaviour of their NAT (RFC 5780). */
  get alternates(): readonly Endpoint[] {
    return this.#sockets.flatMap((row) => row.slice(1).map(({ local }) => local));
  }

  get stats(): StunServerStats {
    return { answered: this.#answered, ignored: this.#ignored, limited: this.#limited };
  }

  /** Closes every socket. Idempotent. */
  async close(): Promise<void> {
    await Promise.all(this.#sockets.flat().map((socket) => socket.close()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #bind(network: Network, options: StunServerOptions): Promise<void> {
    const { alternate = {}, port = 3478, signal, software } = options;
    const addresses = [options.address, ...(alternate.address === undefined ? [] : [alternate.address])];
    const ports = [port, ...(alternate.port === undefined ? [] : [alternate.port])];
    for (const [addressIndex, address] of addresses.entries()) {
      const row: UdpSocket[] = [];
      this.#sockets.push(row);
      for (const [portIndex, wanted] of ports.entries()) {
        // When the system chose a port for the first address, the second one uses the same.
        const chosen = this.#sockets[0]?.[portIndex]?.local.port ?? wanted;
        row.push(
          await network.bindUdp({
            address,
            port: chosen,
            family: address.includes(':') ? 6 : 4,
            signal,
            onMessage: (data, from) => this.#receive(addressIndex, portIndex, data, from),
          }),
        );
      }
    }
    const several = addresses.length * ports.length > 1;
    this.#responders = this.#sockets.map((row, addressIndex) =>
      row.map((socket, portIndex) => {
        const other =
          this.#socket(addressIndex ^ 1, portIndex ^ 1) ??
          this.#socket(addressIndex ^ 1, portIndex) ??
          this.#socket(addressIndex, portIndex ^ 1);
        const announced = (one: UdpSocket | undefined): Endpoint | undefined =>
          one && { address: options.announce?.[one.local.address] ?? one.local.address, port: one.local.port };
        return new BindingResponder({
          origin: several ? announced(socket) : undefined,
          other: announced(other),
          software,
        });
      }),
    );
    this.#log.info('STUN server listens', { at: this.#sockets.flat().map(({ local }) => formatEndpoint(local)) });
  }

  #socket(addressIndex: number, portIndex: number): UdpSocket | undefined {
    return this.#sockets[addressIndex]?.[portIndex];
  }

  #receive(addressIndex: number, portIndex: number, data: Uint8Array, from: Endpoint): void {
    const responder = this.#responders[addressIndex]?.[portIndex];
    if (responder === undefined) return;
    const plain = responder.plainAnswer(data, from);
    if (plain !== undefined) {
      if (!this.#allow(from)) return;
      this.#sockets[addressIndex]![portIndex]!.send(plain, from);
      return;
    }
    const result = decodeStun(data);
    if (!result.ok || result.message.class !== MessageClass.Request || result.message.method !== Method.Binding) {
      this.#ignored++;
      return;
    }
    if (this.#allow(from)) this.#answer(addressIndex, portIndex, result.message, from);
  }

  #allow({ address }: Endpoint): boolean {
    const allowed = this.#limit.allow(address);
    if (allowed) this.#answered++;
    else this.#limited++;
    return allowed;
  }

  #answer(addressIndex: number, portIndex: number, request: StunMessage, from: Endpoint): void {
    const here = this.#sockets[addressIndex]![portIndex]!;
    const change = request.get(attr.changeRequest);
    const fromAddress = change?.address ? addressIndex ^ 1 : addressIndex;
    const fromPort = change?.port ? portIndex ^ 1 : portIndex;
    const socket = this.#socket(fromAddress, fromPort);
    if (socket === undefined) {
      here.send(unknownAttributes(request, [attr.changeRequest.type]), from);
      return;
    }
    const responsePort = request.get(attr.responsePort);
    const badPort = request.has(attr.responsePort) && (responsePort === undefined || responsePort === 0);
    // RFC 5780 §6.1: the two together would let the server be used to send large packets to other ports.
    if (badPort || (responsePort !== undefined && request.has(attr.padding))) {
      here.send(errorResponse(request, StunErrorCode.BadRequest).finish(), from);
      return;
    }
    const responder = this.#responders[fromAddress]![fromPort]!;
    socket.send(responder.answer(request, from), { address: from.address, port: responsePort ?? from.port });
  }
}
