import { abortable, backoff, type Clock, deadline, Link, type Log, PathReason, type Random } from '@towpath/core';
import { ControlError } from '../control-error.ts';
import type { SigningKey } from '@towpath/membership';
import type { ClientMessage, ServerMessage, SignalMessage } from '../wire/messages.ts';
import type { ControlTransport, LiveConnection } from './transport.ts';

/** The first retry comes soon, and waits stay short, so that a server that is back is found within seconds. */
const RETRY = { baseMs: 250, factor: 2, maxMs: 8_000, jitter: 0.5 };
/** Random delay after a loss, so that nodes do not reconnect at the same time. */
const SPREAD_MS = 500;
/** Time limit for a signal to reach another member's connection and be acknowledged, ms. */
const SIGNAL_LIMIT_MS = 4_000;

interface Waiting {
  resolve(): void;
  reject(error: ControlError): void;
}

/** Keeps one connection to a control server. */
export class ServerLink {
  readonly #transport: ControlTransport;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #link: Link<LiveConnection>;
  readonly #waiting = new Map<number, Waiting>();
  #connectedAs: SigningKey | undefined;
  #nextId = 1;
  #started = false;

  constructor(
    components: { transport: ControlTransport; clock: Clock; random: Random; log: Log },
    options: {
      key(): SigningKey;
      onUp(connection: LiveConnection): void;
      onDown(): void;
      /** The date of a server is too far from this machine's clock. */
      onClockSkew(error: ControlError): void;
      /** Resolves when the message has been processed. */
      onMessage(message: ServerMessage, server: string): Promise<void>;
    },
  ) {
    this.#transport = components.transport;
    this.#clock = components.clock;
    this.#random = components.random;
    this.#link = new Link<LiveConnection>(components, {
      target: 'the control plane',
      first: { delaysMs: () => backoff({ ...RETRY, random: this.#random }) },
      connect: async ({ signal, tries, reconnect }) => {
        if (reconnect && tries <= 1) await this.#clock.sleep(this.#random.next() * SPREAD_MS, signal);
        const key = options.key();
        const onMessage = (message: ServerMessage, server: string) =>
          this.#settle(message) ? undefined : options.onMessage(message, server);
        const connection = await this.#transport.connect({ key, signal, onMessage }).catch((error: unknown) => {
          if (error instanceof ControlError && error.code === 'clock-skew') options.onClockSkew(error);
          throw error;
        });
        this.#connectedAs = key;
        return connection;
      },
      watch: (connection) => connection.closed,
      release: (connection) => connection.close(),
    });
    this.#link.events.on('up', ({ path }) => options.onUp(path));
    this.#link.events.on('down', () => {
      this.#rejectAll();
      options.onDown();
    });
  }

  get connection(): LiveConnection | undefined {
    return this.#link.path;
  }

  /** The key with which the connection was opened. */
  get connectedAs(): SigningKey | undefined {
    return this.#connectedAs;
  }

  /** Whether a connection is wanted. */
  get started(): boolean {
    return this.#started;
  }

  start(): void {
    this.#started = true;
    this.#link.start();
  }

  /** Resolves once there is a connection. */
  async ready(signal?: AbortSignal): Promise<void> {
    await this.#link.ready(signal);
  }

  /** Reconnects with other keys. */
  renew(): void {
    const connection = this.#link.path;
    if (connection === undefined) this.#link.refresh(PathReason.requested);
    else this.#link.reportLoss(connection, new ControlError('closed', 'Connecting again under other keys.'));
  }

  /** Without a connection nothing is sent; important data is sent again on the next one. */
  send(message: ClientMessage): void {
    this.#link.path?.send(message);
  }

  /**
   * Hands a signal to the server and waits until it was passed on.
   * @throws ControlError `peer-offline`, `no-answer`, `signal-refused`, `server-unavailable`, `not-a-member`, `limit-exceeded`.
   */
  async signal(message: Omit<SignalMessage, 'type' | 'id'>, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const connection = this.#link.path;
    if (connection === undefined) throw unavailable();
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.set(id, { resolve, reject });
    using limit = deadline(this.#clock, SIGNAL_LIMIT_MS, signal, unavailable);
    try {
      connection.send({ type: 'signal', id, ...message });
      await abortable(promise, limit.signal);
    } finally {
      this.#waiting.delete(id);
    }
  }

  async close(): Promise<void> {
    this.#rejectAll();
    await this.#link.close();
  }

  #settle(message: ServerMessage): boolean {
    if (message.type === 'delivered') {
      this.#waiting.get(message.id)?.resolve();
      return true;
    }
    if (message.type !== 'undelivered') return false;
    const { reason } = message;
    const text = {
      'peer-offline': 'The peer is not connected to the control plane now.',
      'not-a-member': 'The control server does not count this node to the party.',
      'limit-exceeded': 'Too many signals in a short time: wait a moment.',
      'no-answer': 'The peer is connected to the control plane, but has not confirmed the signal in time. Try again.',
      refused:
        "The peer refused the signal: compare the clocks of both machines, and see whether the peer's log is current.",
    }[reason];
    this.#waiting.get(message.id)?.reject(new ControlError(reason === 'refused' ? 'signal-refused' : reason, text));
    return true;
  }

  #rejectAll(): void {
    for (const waiting of this.#waiting.values()) waiting.reject(unavailable());
  }
}

function unavailable(): ControlError {
  return new ControlError('server-unavailable', 'No control server can be reached; retrying.');
}
