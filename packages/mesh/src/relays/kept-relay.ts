import {
  AbortedError,
  backoffMs,
  type Clock,
  errorMessage,
  type Log,
  type Random,
  Tasks,
  type Timer,
  Wakeup,
} from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import type { RelaySession, RelaySessionOptions, RelayTransports } from '../paths/relay-session.ts';
import { proveRelayed } from './relay-proof.ts';

export interface KeptRelayComponents {
  clock: Clock;
  random: Random;
  log: Log;
}

export interface KeptRelayOptions {
  open(options: Pick<RelaySessionOptions, 'number' | 'only' | 'onChange' | 'onSilence'>): RelaySession;
  /** True where the relay is listed for one of these transports. */
  offers(transports: RelayTransports): boolean;
  /** False while this member has as many relayed addresses as it may have. */
  mayOpen(): boolean;
  /** True while the path in use to a peer goes over the session. */
  isUsed(session: RelaySession): boolean;
  /** A relayed address was granted, or is gone, or takes the place of another. */
  onChange(): void;
}

/** What is done with a second relayed address until it takes the place of the first. Throws where it does not. */
type Move = (first: RelaySession, second: RelaySession, signal: AbortSignal) => Promise<void>;

/** A relayed address over TCP or TLS is asked for over UDP again: after 1, 2, 4 … 30 min. */
const UDP_AGAIN = { baseMs: 60_000, maxMs: 1_800_000 };
/** Where UDP has worked for so long meanwhile, these pauses begin anew, ms. */
const LASTING_MS = 600_000;
/** The first relayed address is released when no data has passed over it for this long, ms. */
const QUIET_MS = 10_000;
const LOOK_MS = 2_000;
/** A relay that answers over TCP is asked over UDP once more: the network may have been away as a whole, ms. */
const LAST_QUESTION_MS = 1_500;

/**
 * This member's relayed address at one relay. While it is reached over TCP or TLS, a second one is asked for over UDP now and
 * then. Once data has passed over that one, peers are told both and move; then the first one is released. So no packet is lost, and
 * where UDP does not work, or the relay grants one address only, nothing changes. Where UDP stops to work, the second one is over TCP.
 */
export class KeptRelay implements AsyncDisposable {
  readonly #components: KeptRelayComponents;
  readonly #options: KeptRelayOptions;
  readonly #closing = new AbortController();
  readonly #work = new Tasks();
  readonly #wakeup: Wakeup;
  #number = 0;
  #session: RelaySession;
  #second: RelaySession | undefined;
  #moving: AbortController | undefined;
  /** Peers may use {@link #second}, too. */
  #isTold = false;
  #timer: Timer | undefined;
  #tries = 0;
  /** Since when the relay has been reached over UDP. */
  #overUdpAtMs: number | undefined;

  constructor(components: KeptRelayComponents, options: KeptRelayOptions) {
    this.#components = components;
    this.#options = options;
    this.#wakeup = new Wakeup(components);
    this.#session = this.#open(0);
  }

  /** Sessions that peers may use: one, and two while they move from one to the other. */
  get sessions(): RelaySession[] {
    const all = this.#isTold && this.#second !== undefined ? [this.#session, this.#second] : [this.#session];
    return all.filter(({ relayed }) => relayed !== undefined);
  }

  /** The relayed address that peers are to use. */
  get relayed(): Endpoint | undefined {
    return this.sessions.find(({ isReplaced }) => !isReplaced)?.relayed;
  }

  /** Relayed addresses that it has or asks for. */
  get size(): number {
    return this.#second === undefined ? 1 : 2;
  }

  /** See {@link RelaySession.verify}. */
  verify(): void {
    this.#session.verify();
    if (this.#isTold) this.#second?.verify();
  }

  /** The network may let UDP pass again: asks at once. */
  retryUdp(): void {
    this.#tries = 0;
    if (this.#timer !== undefined) this.#begin('udp', this.#toUdp);
  }

  /** Asks for everything anew: the network has changed. */
  restart(): void {
    this.#tries = 0;
    this.#moving?.abort(new AbortedError('The network has changed.'));
    this.#session.restart();
  }

  async close(): Promise<void> {
    this.#closing.abort(new AbortedError('The relay is not used any more.'));
    this.#stopTimer();
    await this.#work.settled();
    await this.#session.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #open(number: number, only?: RelayTransports): RelaySession {
    const session: RelaySession = this.#options.open({
      number,
      only,
      onChange: () => this.#changed(session),
      onSilence: () => this.#changed(undefined),
    });
    return session;
  }

  #changed(granted: RelaySession | undefined): void {
    this.#wakeup.wake();
    if (this.#closing.signal.aborted) return;
    const { relayed, isSilent } = this.#session;
    // It is asked for over every transport now, UDP on the same socket included: there, a relay has one for each socket.
    if (relayed === undefined && !this.#isTold) this.#moving?.abort(new AbortedError('The relayed address is lost.'));
    if (isSilent && this.#moving === undefined && this.#options.offers('stream')) this.#begin('stream', this.#toStream);
    this.#schedule();
    if (granted === this.#session) this.#options.onChange();
  }

  #schedule(): void {
    const { clock, random } = this.#components;
    const { isOverStream, relayed } = this.#session;
    if (isOverStream) {
      if (this.#overUdpAtMs !== undefined && clock.now() - this.#overUdpAtMs >= LASTING_MS) this.#tries = 0;
      this.#overUdpAtMs = undefined;
    } else if (relayed !== undefined) this.#overUdpAtMs ??= clock.now();
    if (!isOverStream || !this.#options.offers('udp') || this.#moving !== undefined || this.#closing.signal.aborted) {
      this.#stopTimer();
      return;
    }
    this.#timer ??= clock.timer(backoffMs({ ...UDP_AGAIN, random }, this.#tries), () => {
      this.#tries++;
      this.#begin('udp', this.#toUdp);
    });
  }

  #stopTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #begin(only: RelayTransports, move: Move): void {
    this.#stopTimer();
    if (this.#options.mayOpen()) this.#work.add(this.#move(only, move));
    else this.#schedule();
  }

  async #move(only: RelayTransports, move: Move): Promise<void> {
    this.#moving = new AbortController();
    const signal = AbortSignal.any([this.#closing.signal, this.#moving.signal]);
    const first = this.#session;
    const second = this.#open(1 - this.#number, only);
    this.#second = second;
    let left = second;
    try {
      await move(first, second, signal);
      signal.throwIfAborted();
      this.#session = second;
      this.#number = 1 - this.#number;
      second.useAny();
      left = first;
    } catch (error) {
      first.isReplaced = false;
      this.#components.log.debug(`${first.relay} goes on to be used: ${errorMessage(error)}`);
    }
    const isTold = this.#isTold || left === first;
    this.#isTold = false;
    this.#second = undefined;
    // The peers hear that an address is gone before it is.
    if (isTold && !this.#closing.signal.aborted) this.#options.onChange();
    await left.close();
    this.#moving = undefined;
    if (!this.#closing.signal.aborted) this.#changed(undefined);
  }

  /** UDP may pass again: data is sent over it before the peers use it, and they before the first address is released. */
  readonly #toUdp: Move = async (first, second, signal) => {
    const { clock } = this.#components;
    while (second.relayed === undefined) {
      if (!second.isAsking) throw new AbortedError('The relay grants no address over UDP.');
      await this.#wakeup.wait(Number.POSITIVE_INFINITY, signal);
    }
    await proveRelayed(this.#components, [first, second], signal);
    this.#isTold = true;
    first.isReplaced = true;
    this.#options.onChange();
    const toldAtMs = clock.now();
    const isQuiet = () => clock.now() - Math.max(toldAtMs, first.carriedAtMs) >= QUIET_MS;
    while (first.relayed !== undefined && (!isQuiet() || this.#options.isUsed(first))) {
      if (second.relayed === undefined || second.isSilent) break;
      await this.#wakeup.wait(LOOK_MS, signal);
    }
    if (second.relayed === undefined || (second.isSilent && first.relayed !== undefined)) {
      throw new AbortedError('The relay does not answer over UDP any more.');
    }
  };

  /** UDP does not pass any more: what goes over the first address is lost. */
  readonly #toStream: Move = async (first, second, signal) => {
    while (second.relayed === undefined && first.isSilent) await this.#wakeup.wait(Number.POSITIVE_INFINITY, signal);
    first.verify();
    const { clock } = this.#components;
    const untilMs = clock.now() + LAST_QUESTION_MS;
    for (let leftMs = LAST_QUESTION_MS; leftMs > 0 && first.isSilent; leftMs = untilMs - clock.now())
      await this.#wakeup.wait(leftMs, signal);
    if (!first.isSilent || second.relayed === undefined) throw new AbortedError('The relay answers over UDP again.');
  };
}
