import { AVOIDED, backoff, type Clock, type Random, Repeat, SparseMap, type Timer } from '@towpath/core';
import { type Endpoint, formatEndpoint } from '@towpath/net';
import { chooseRelays, isGoodChoice, type RelayChoice } from './relay-choice.ts';
import type { RelayKey } from './relay-key.ts';
import {
  type ChoiceSignal,
  decodeRelaySignal,
  encodeRelaySignal,
  type FiguresSignal,
  type RelayFigure,
} from './relay-signal.ts';

export interface RelayAgreementComponents {
  clock: Clock;
  random: Random;
  /** Sends a signal to the peer; it may be lost. */
  send(data: Uint8Array): void;
}

export interface RelayAgreementOptions {
  /** The same text on both ends. */
  pair: string;
  /** One of the two ends: it makes the offers. */
  offers: boolean;
  /** What this member has measured, and its relayed addresses. */
  figures(): readonly RelayFigure[];
  /** True while data goes over a relay, or nowhere: then changed figures are worth a signal. */
  isRelayed(): boolean;
  /** True when a path to the peer through the relay is verified on this end. */
  isVerified(key: RelayKey): boolean;
  /** The relays that are wanted or used have changed. */
  onChange(): void;
}

interface Offer extends RelayChoice {
  readonly number: number;
}

/** What is measured before anything is. */
const NO_FIGURES: ReadonlyMap<RelayKey, number> = new Map();
/** Signals that got no answer are sent again, ms: 1, 2, 4 … 30 s. */
const AGAIN = { baseMs: 1_000, maxMs: 30_000 };
/** Figures are told, and offers made or taken, this often at most, ms: a hostile peer causes no more signals than that. */
const SPACING_MS = 1_000;
/** A relay that has not failed the pair for this long since it was offered again begins anew, ms. */
const FORGOTTEN_AFTER_MS = 600_000;

/**
 * Agrees with one peer on the relay that both use, and the one that both keep ready. One end offers; the other confirms when it
 * has verified a path through the relay; then the first moves and says so, and the other follows when it hears that, or hears
 * data there. So neither end moves to a relay alone. docs/protocol/mesh.md, "Relay choice".
 */
export class RelayAgreement {
  readonly #components: RelayAgreementComponents;
  readonly #options: RelayAgreementOptions;
  readonly #session: number;
  #sequence = 0;
  #told: ReadonlyMap<RelayKey, number> = NO_FIGURES;
  #toldAtMs = Number.NEGATIVE_INFINITY;
  #figuresTimer: Timer | undefined;
  #offerTimer: Timer | undefined;
  #offeredAtMs = Number.NEGATIVE_INFINITY;
  readonly #excluded = new SparseMap<RelayKey, Timer>();
  readonly #failures = new SparseMap<RelayKey, { count: number; untilMs: number }>();
  /** One end has left what was agreed, because a path died: the two must agree anew. */
  #isUnsettled = false;
  #isDue = true;
  #theirs: FiguresSignal | undefined;
  #theirFigures: ReadonlyMap<RelayKey, number> = NO_FIGURES;
  #theirRelayed: ReadonlyMap<string, RelayKey> | undefined;
  #agreed: Offer | undefined;
  /** The offer under way: made by this end, or by the peer. */
  #pending: Offer | undefined;
  #confirmed = false;
  #number = 0;
  #offerSession: number | undefined;
  #repetition: Repeat | undefined;
  #closed = false;

  constructor(components: RelayAgreementComponents, options: RelayAgreementOptions) {
    this.#components = components;
    this.#options = options;
    this.#session = components.random.integer(1, 0xffff_ffff);
  }

  /** The relays of the pair; undefined until both ends have agreed. */
  get agreed(): RelayChoice | undefined {
    return this.#agreed;
  }

  /** Relays that the pair uses, keeps ready or is about to use: at most four. */
  get wanted(): RelayKey[] {
    const choices = [this.#agreed, this.#pending];
    const keys = choices.flatMap((choice) => (choice === undefined ? [] : [choice.first, choice.second]));
    return [...new Set(keys.filter((key) => key !== undefined))];
  }

  /** Place of a path through the relay: 0 the one to use, then the one that is offered, then the standby. */
  rank(key: RelayKey | undefined): number {
    const order = [this.#agreed?.first, this.#pending?.first, this.#agreed?.second, this.#pending?.second];
    const at = key === undefined ? -1 : order.indexOf(key);
    return at < 0 ? order.length : at;
  }

  /** The relay of one of the peer's relayed addresses, as the peer says. */
  relayOf(endpoint: Endpoint): RelayKey | undefined {
    return this.#theirRelayed?.get(formatEndpoint(endpoint));
  }

  /** The relayed address that the peer has told for a relay. */
  relayedAt(key: RelayKey): Endpoint | undefined {
    return this.#theirs?.figures.find((figure) => figure.key === key)?.relayed;
  }

  /** Own figures or relayed addresses have changed, or data goes over a relay again. */
  update(): void {
    this.#isDue = true;
    this.#tell(false);
    this.#consider();
  }

  /** The peer's paths began anew: it knows nothing of this end. */
  restart(): void {
    this.#isDue = true;
    this.#tell(true);
  }

  /** A path was verified, or data has arrived on one. */
  heard(key: RelayKey | undefined, isData: boolean): void {
    const pending = this.#pending;
    if (pending === undefined || key !== pending.first) return;
    if (!this.#options.offers) {
      if (isData && this.#confirmed) this.#use(pending);
      else if (!this.#confirmed) this.#confirm();
    } else if (this.#confirmed) this.#finish();
  }

  /**
   * The relay that was used has failed the pair: the path through it has died, or the relay loses the data or delays it, whatever
   * it answers. The standby carries the data, on both ends.
   * @param leastMs for how long this end does not use the path at least
   */
  failed(key: RelayKey | undefined, leastMs = 0): void {
    const agreed = this.#agreed;
    if (agreed === undefined || key !== agreed.first) return;
    this.#agreed = agreed.second === undefined ? undefined : { ...agreed, first: agreed.second, second: undefined };
    this.#isUnsettled = true;
    if (this.#pending?.first === key) this.#drop();
    this.#exclude(key, leastMs);
    this.#isDue = true;
    this.#tell(true);
    this.#options.onChange();
    this.#consider();
  }

  /** True while the two may agree on the relay: both have told a figure. One that has failed the pair is omitted by an end. */
  isCommon(key: RelayKey): boolean {
    return this.#told.has(key) && this.#theirFigures.has(key);
  }

  /** The network has changed: relays that have failed may be offered again. */
  forgive(): void {
    this.#failures.clear();
    if (this.#excluded.size === 0) return;
    for (const timer of this.#excluded.values()) timer.cancel();
    this.#excluded.clear();
    this.update();
  }

  /** Tells the peer again what it may not have heard: that the two must agree anew, or the figures while nothing is agreed. */
  wake(): void {
    const isOpen = this.#agreed === undefined;
    if (!this.#isUnsettled && !isOpen) return;
    this.#isDue = true;
    this.#tell(true, isOpen);
    this.#consider();
  }

  /** Takes a signal of the peer. Returns false when it is of another kind. */
  receive(data: Uint8Array): boolean {
    const signal = decodeRelaySignal(data);
    if (signal === undefined || this.#closed) return false;
    if (signal.type === 'figures') this.#takeFigures(signal);
    else if (this.#options.offers) this.#takeConfirm(signal);
    else this.#takeOffer(signal);
    return true;
  }

  close(): void {
    this.#closed = true;
    this.#repetition?.stop();
    const timers = [this.#figuresTimer, this.#offerTimer, ...this.#excluded.values()];
    for (const timer of timers) timer?.cancel();
  }

  /** As a path that loses data is avoided; {@link AVOIDED}. */
  #exclude(key: RelayKey, leastMs: number): void {
    const { clock } = this.#components;
    const nowMs = clock.now();
    const known = this.#failures.get(key);
    const count = known !== undefined && nowMs - known.untilMs < FORGOTTEN_AFTER_MS ? known.count + 1 : 0;
    const waitMs = Math.max(leastMs, Math.min(AVOIDED.maxMs, AVOIDED.baseMs * 2 ** count));
    this.#failures.set(key, { count, untilMs: nowMs + waitMs });
    this.#excluded.get(key)?.cancel();
    const again = () => {
      this.#excluded.delete(key);
      this.update();
    };
    this.#excluded.set(key, clock.timer(waitMs, again));
  }

  #takeFigures(signal: FiguresSignal): void {
    const known = this.#theirs;
    if (known?.session === signal.session && signal.sequence <= known.sequence) return;
    this.#theirs = signal;
    this.#theirFigures = new Map(signal.figures.map(({ key, rttMs }) => [key, rttMs]));
    const relayed = signal.figures.flatMap(({ key, relayed: at }) => (at ? [[formatEndpoint(at), key] as const] : []));
    this.#theirRelayed = relayed.length === 0 ? undefined : new Map(relayed);
    if (signal.wantsAnswer || known?.session !== signal.session || this.#hidesCommon) {
      this.#isDue = true;
      this.#tell(true, false);
    }
    if (signal.isUnsettled && this.#options.offers) this.#isUnsettled = true;
    this.#options.onChange();
    this.#consider();
  }

  /** The end that offers: does so when the best choice is not the one in use. */
  #consider(): void {
    if (!this.#options.offers || this.#closed) return;
    const choice = chooseRelays(this.#told, this.#theirFigures, this.#options.pair, this.#agreed);
    if (choice === undefined || (sameChoice(choice, this.#agreed) && !this.#isUnsettled)) {
      this.#drop();
      return;
    }
    if (sameChoice(choice, this.#pending) || this.#offerTimer !== undefined) return;
    const { clock } = this.#components;
    const waitMs = this.#offeredAtMs + SPACING_MS - clock.now();
    if (waitMs > 0) {
      this.#offerTimer = clock.timer(waitMs, () => {
        this.#offerTimer = undefined;
        this.#consider();
      });
      return;
    }
    this.#offeredAtMs = clock.now();
    this.#pending = { ...choice, number: ++this.#number };
    this.#confirmed = false;
    this.#options.onChange();
    this.#repeat(() => {
      this.#tell(true);
      this.#sendChoice('offer');
    });
  }

  #takeConfirm({ type, session, number }: ChoiceSignal): void {
    if (type !== 'confirm' || session !== this.#session) return;
    // The word that this end has moved was lost.
    if (number === this.#agreed?.number && this.#pending === undefined) this.#sendChoice('use');
    if (number !== this.#pending?.number) return;
    this.#confirmed = true;
    this.#finish();
  }

  #finish(): void {
    const pending = this.#pending;
    if (pending === undefined || !this.#options.isVerified(pending.first)) return;
    this.#use(pending);
    this.#sendChoice('use');
  }

  #takeOffer({ type, session, number, first, second }: ChoiceSignal): void {
    const isNew = session !== this.#offerSession;
    if (type === 'use') {
      if (!isNew && number === this.#pending?.number && this.#confirmed) this.#use(this.#pending);
      return;
    }
    if (type !== 'offer' || (!isNew && number < this.#number)) return;
    if (!isGoodChoice(first, this.#told, this.#theirFigures)) {
      // The peer has decided with other figures than this end has told it last.
      this.#isDue = true;
      this.#tell(true, false);
      return;
    }
    if (isNew || number > this.#number) {
      const nowMs = this.#components.clock.now();
      if (nowMs - this.#offeredAtMs < SPACING_MS / 2) return;
      this.#offeredAtMs = nowMs;
      this.#offerSession = session;
      this.#number = number;
      this.#pending = { first, second, number };
      this.#confirmed = false;
      this.#options.onChange();
    } else if (number === this.#agreed?.number) return;
    this.#confirm();
  }

  #confirm(): void {
    const pending = this.#pending;
    if (pending === undefined || !this.#options.isVerified(pending.first)) return;
    this.#confirmed = true;
    this.#repeat(() => this.#sendChoice('confirm'));
  }

  #use(choice: Offer): void {
    this.#agreed = choice;
    this.#isUnsettled = false;
    this.#drop();
    this.#options.onChange();
  }

  #drop(): void {
    this.#pending = undefined;
    this.#confirmed = false;
    this.#repetition?.stop();
    this.#repetition = undefined;
  }

  /** Sends at once, and again until the exchange is over. */
  #repeat(send: () => void): void {
    const { clock, random } = this.#components;
    const waits = backoff({ ...AGAIN, random });
    const run = () => {
      send();
      return waits.next().value ?? AGAIN.maxMs;
    };
    this.#repetition?.stop();
    this.#repetition = new Repeat({ clock }, { run });
    this.#repetition.wake();
  }

  #sendChoice(type: ChoiceSignal['type']): void {
    const choice = type === 'use' ? this.#agreed : this.#pending;
    if (choice === undefined) return;
    const session = this.#options.offers ? this.#session : (this.#offerSession ?? 0);
    const { number, first, second } = choice;
    this.#components.send(encodeRelaySignal({ type, session, number, first, second }));
  }

  /** What the peer was told has no relay in common with what it tells, and a relay that has failed the pair would be one. */
  get #hidesCommon(): boolean {
    if (this.#excluded.size === 0 || [...this.#told.keys()].some((key) => this.#theirFigures.has(key))) return false;
    return this.#offered().some(({ key }) => this.#theirFigures.has(key));
  }

  /** The figures without relays that have failed the pair; where the pair then has none in common, one that failed is better. */
  #offered(): readonly RelayFigure[] {
    const all = this.#options.figures();
    const kept = all.filter(({ key }) => !this.#excluded.has(key));
    return this.#theirs === undefined || kept.some(({ key }) => this.#theirFigures.has(key)) ? kept : all;
  }

  /** Tells the peer the figures, unless it has them, or nothing depends on them now. */
  #tell(isWanted: boolean, wantsAnswer = this.#theirs === undefined): void {
    if (!this.#isDue || this.#closed || this.#figuresTimer !== undefined) return;
    if (!isWanted && !this.#options.isRelayed()) return;
    const { clock } = this.#components;
    const waitMs = this.#toldAtMs + SPACING_MS - clock.now();
    if (waitMs > 0) {
      this.#figuresTimer = clock.timer(waitMs, () => {
        this.#figuresTimer = undefined;
        this.#tell(isWanted, wantsAnswer);
        this.#consider();
      });
      return;
    }
    const figures = this.#offered();
    if (figures.length === 0 && this.#sequence === 0) return;
    this.#isDue = false;
    this.#toldAtMs = clock.now();
    this.#told = new Map(figures.map(({ key, rttMs }) => [key, rttMs]));
    const signal = {
      type: 'figures' as const,
      session: this.#session,
      sequence: ++this.#sequence,
      wantsAnswer,
      isUnsettled: this.#isUnsettled && !this.#options.offers,
      figures,
    };
    this.#components.send(encodeRelaySignal(signal));
  }
}

function sameChoice(a: RelayChoice, b: RelayChoice | undefined): boolean {
  return a.first === b?.first && a.second === b.second;
}
