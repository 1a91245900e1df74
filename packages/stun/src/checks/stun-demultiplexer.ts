import type { Endpoint } from '@towpath/net';
import * as attr from '../message/attributes.ts';
import { MessageClass, Method, TRANSACTION_ID_BYTES } from '../message/header.ts';
import { decodeStun, type StunMessage } from '../message/stun-message.ts';

/** The part of a UDP socket that is needed here; net's `UdpSocket` has it. */
export interface DatagramSender {
  send(data: Uint8Array, to: Endpoint): void;
}

/** Takes one STUN message. Returns true when it was meant for this handler. */
export type StunHandler = (message: StunMessage, from: Endpoint) => boolean;

/** Messages that no handler took; a snapshot. */
export interface DemultiplexerStats {
  /** Not STUN, or a wrong length, attribute or fingerprint. */
  readonly malformed: number;
  /** Binding requests whose USERNAME no handler has. */
  readonly unknownUser: number;
  /** Answers to requests that are not pending, and everything else that no handler took. */
  readonly unexpected: number;
}

/**
 * Shares one UDP socket between all users of STUN on it: the checks of many peers, STUN transactions and TURN
 * allocations. Each message is decoded once and found by transaction id or USERNAME, so the cost does not grow
 * with the number of peers. Give {@link receive} to the socket's STUN route (RFC 7983).
 */
export class StunDemultiplexer implements DatagramSender {
  readonly #socket: DatagramSender;
  readonly #users = new Map<string, StunHandler>();
  readonly #answers = new Map<string, StunHandler>();
  readonly #others = new Set<StunHandler>();
  #malformed = 0;
  #unknownUser = 0;
  #unexpected = 0;

  constructor(socket: DatagramSender) {
    this.#socket = socket;
  }

  get stats(): DemultiplexerStats {
    return { malformed: this.#malformed, unknownUser: this.#unknownUser, unexpected: this.#unexpected };
  }

  /** Sends a datagram from the socket. */
  send(data: Uint8Array, to: Endpoint): void {
    this.#socket.send(data, to);
  }

  /** Takes a datagram that came to the socket. Returns false when no handler wanted it. */
  receive(data: Uint8Array, from: Endpoint): boolean {
    const result = decodeStun(data);
    if (!result.ok) {
      this.#malformed++;
      return false;
    }
    return this.receiveMessage(result.message, from);
  }

  /** {@link receive} for a message that was decoded already. */
  receiveMessage(message: StunMessage, from: Endpoint): boolean {
    const request = message.class === MessageClass.Request && message.method === Method.Binding;
    const user = request ? message.get(attr.username) : undefined;
    const answer = message.class === MessageClass.Success || message.class === MessageClass.Error;
    const handler = user !== undefined ? this.#users.get(user) : answer ? this.#answers.get(idOf(message)) : undefined;
    if (handler?.(message, from)) return true;
    for (const other of this.#others) if (other(message, from)) return true;
    if (user === undefined) this.#unexpected++;
    else this.#unknownUser++;
    return false;
  }

  /**
   * Hands Binding requests with this USERNAME to `handler`.
   * @throws Error when the name is taken: user fragments must differ between peers.
   */
  onUser(username: string, handler: StunHandler): Disposable {
    if (this.#users.has(username)) throw new Error('These user fragments are in use on this socket already.');
    this.#users.set(username, handler);
    return new UserRegistration(this.#users, username);
  }

  /** Hands answers to the request with this transaction id to `handler`, until disposed. */
  onAnswer(transactionId: Uint8Array, handler: StunHandler): Disposable {
    const id = Buffer.from(transactionId).toString('latin1');
    this.#answers.set(id, handler);
    return { [Symbol.dispose]: () => void this.#answers.delete(id) };
  }

  /** Offers every message that no check takes to `handler`: STUN transactions, TURN allocations. */
  onOther(handler: StunHandler): Disposable {
    this.#others.add(handler);
    return { [Symbol.dispose]: () => void this.#others.delete(handler) };
  }
}

/** One for each peer and socket: a function would take four times as much. */
class UserRegistration implements Disposable {
  readonly #users: Map<string, StunHandler>;
  readonly #username: string;

  constructor(users: Map<string, StunHandler>, username: string) {
    this.#users = users;
    this.#username = username;
  }

  [Symbol.dispose](): void {
    this.#users.delete(this.#username);
  }
}

function idOf({ bytes }: StunMessage): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + 8, TRANSACTION_ID_BYTES).toString('latin1');
}
