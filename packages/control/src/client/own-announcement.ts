import { type Clock, type Random, Repeat, type Timer } from '@towpath/core';
import {
  type LogHead,
  MAX_ANNOUNCEMENT_AGE_MS,
  MAX_CLOCK_SKEW_MS,
  type Member,
  type PartyId,
  signAnnouncement,
  type SigningKey,
  toBase64,
} from '@towpath/membership';

/**
 * After the log has grown every member announces its head again, once, within this time per member of the party: about
 * one announcement per second in all, however large the party.
 */
const GOSSIP_MS_PER_MEMBER = 1_000;
/** An unchanged announcement is dated anew within this time: a third of the age at which newcomers refuse it. */
const ANNOUNCE_AGAIN_MS: number = MAX_ANNOUNCEMENT_AGE_MS / 3;

/** Who announces, and what it has verified; undefined while this node is no member. */
export interface Announcer {
  readonly self: Member;
  readonly head: LogHead;
  readonly key: SigningKey;
}

/** What this node announces in a party, and when it does so again. */
export class OwnAnnouncement implements Disposable {
  readonly #party: PartyId;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #announcer: () => Announcer | undefined;
  readonly #send: (announcement: string) => void;
  #data: Uint8Array = new Uint8Array(0);
  #announcedAt = 0;
  #gossip: Timer | undefined;
  /** When it is announced again, `Clock.now` ms; nothing has been announced: never. */
  #dueAtMs = Number.POSITIVE_INFINITY;
  readonly #renewals: Repeat;

  constructor(
    components: { clock: Clock; random: Random },
    options: { party: PartyId; announcer(): Announcer | undefined; send(announcement: string): void },
  ) {
    this.#party = options.party;
    this.#clock = components.clock;
    this.#random = components.random;
    this.#announcer = () => options.announcer();
    this.#send = (announcement) => options.send(announcement);
    this.#renewals = new Repeat(components, { run: () => this.#renew() });
  }

  /** Announces other data. */
  replace(data: Uint8Array): void {
    this.#data = new Uint8Array(data);
    this.#announce();
  }

  /** Returns the announcement of now, signed. */
  text(): string | undefined {
    const announcer = this.#announcer();
    if (announcer === undefined) return undefined;
    const { self, head, key } = announcer;
    const now = Math.floor(this.#clock.wallTime());
    // After this machine's clock was set back by more than that, earlier dates no longer count.
    this.#announcedAt = this.#announcedAt > now + MAX_CLOCK_SKEW_MS ? now : Math.max(this.#announcedAt + 1, now);
    this.#dueAtMs = this.#clock.now() + ANNOUNCE_AGAIN_MS * (1 - this.#random.next() / 2);
    this.#renewals.wake();
    const announcement = { timeMs: this.#announcedAt, head, data: this.#data };
    return toBase64(signAnnouncement(announcement, { party: this.#party, peer: self.id, key }));
  }

  /** The log has grown: members announce their head, so that a server cannot show different logs to them. */
  logGrew(members: number): void {
    const delayMs = this.#random.next() * GOSSIP_MS_PER_MEMBER * members;
    this.#gossip ??= this.#clock.timer(delayMs, () => {
      this.#gossip = undefined;
      this.#announce();
    });
  }

  [Symbol.dispose](): void {
    this.#renewals.stop();
    this.#gossip?.cancel();
  }

  #announce(): void {
    const announcement = this.text();
    if (announcement !== undefined) this.#send(announcement);
  }

  /** Announces again before the members who hear of this node for the first time would refuse what it announced. */
  #renew(): number {
    const leftMs = this.#dueAtMs - this.#clock.now();
    if (leftMs > 0) return leftMs;
    this.#dueAtMs = Number.POSITIVE_INFINITY;
    this.#announce();
    return this.#dueAtMs - this.#clock.now();
  }
}
