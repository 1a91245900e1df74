import type { Clock, Timer } from '@towpath/core';
import type { DaemonEvent, EventBatch } from '@towpath/dashboard/api';

export interface HubOptions {
  /** Of this process. */
  run: string;
  /** Shortest time between two batches of a subscriber, ms. @default 50 */
  batchMs?: number;
  /** How many events are kept for a page that connects again. @default 2000 */
  kept?: number;
}

interface Numbered {
  readonly sequence: number;
  readonly event: DaemonEvent;
}

interface Subscriber {
  sent: number;
  reset: boolean;
  readonly send: (batch: EventBatch) => void;
  /** True while it cannot take more: its events wait, and those that a newer one replaces are dropped. */
  readonly busy: () => boolean;
}

const DEFAULT_BATCH_MS = 50;
const DEFAULT_KEPT = 2_000;

/** Numbers the events of the daemon and hands them to subscribers in batches. Memory is bounded whatever they do. */
export class EventHub implements Disposable {
  readonly run: string;
  readonly #clock: Clock;
  readonly #batchMs: number;
  readonly #kept: number;
  readonly #events: Numbered[] = [];
  readonly #subscribers = new Set<Subscriber>();
  #sequence = 0;
  #timer: Timer | undefined;

  constructor({ clock }: { clock: Clock }, options: HubOptions) {
    this.#clock = clock;
    this.run = options.run;
    this.#batchMs = options.batchMs ?? DEFAULT_BATCH_MS;
    this.#kept = options.kept ?? DEFAULT_KEPT;
  }

  /** Number of the last event. */
  get sequence(): number {
    return this.#sequence;
  }

  get subscribers(): number {
    return this.#subscribers.size;
  }

  publish(event: DaemonEvent): void {
    this.#events.push({ sequence: ++this.#sequence, event });
    if (this.#events.length > this.#kept) this.#events.splice(0, this.#events.length - this.#kept);
    if (this.#subscribers.size > 0) this.#timer ??= this.#clock.timer(this.#batchMs, () => this.#flush());
  }

  /**
   * Sends a first batch at once and further ones until the returned function is called.
   * @param from where an earlier connection ended; without it, or when events since then are gone, it begins anew
   */
  subscribe(
    from: { run: string; after: number } | undefined,
    send: (batch: EventBatch) => void,
    busy: () => boolean = () => false,
  ): () => void {
    const oldest = this.#events[0]?.sequence ?? this.#sequence + 1;
    const continues = from?.run === this.run && from.after >= oldest - 1 && from.after <= this.#sequence;
    const subscriber: Subscriber = {
      sent: continues ? from.after : this.#sequence,
      reset: from !== undefined && !continues,
      send,
      busy,
    };
    this.#subscribers.add(subscriber);
    this.#sendTo(subscriber, true);
    return () => {
      this.#subscribers.delete(subscriber);
    };
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel();
    this.#subscribers.clear();
  }

  #flush(): void {
    this.#timer = undefined;
    let waiting = false;
    for (const subscriber of [...this.#subscribers]) {
      if (subscriber.busy()) waiting = true;
      else this.#sendTo(subscriber, false);
    }
    if (waiting) this.#timer = this.#clock.timer(this.#batchMs, () => this.#flush());
  }

  #sendTo(subscriber: Subscriber, always: boolean): void {
    const oldest = this.#events[0]?.sequence ?? this.#sequence + 1;
    const missed = subscriber.sent < oldest - 1;
    const events = missed ? [] : newest(this.#events.filter(({ sequence }) => sequence > subscriber.sent));
    if (!always && events.length === 0 && !missed) return;
    const reset = subscriber.reset || missed;
    subscriber.reset = false;
    subscriber.sent = this.#sequence;
    const at = new Date(this.#clock.wallTime()).toISOString();
    subscriber.send({ version: 1, run: this.run, sequence: this.#sequence, reset, at, events });
  }
}

/** Events whose whole content a later one repeats are left out. */
function newest(events: readonly Numbered[]): DaemonEvent[] {
  const last = new Map<string, number>();
  for (const { event, sequence } of events) {
    const key = subject(event);
    if (key !== undefined) last.set(key, sequence);
  }
  return events
    .filter(({ event, sequence }) => {
      const key = subject(event);
      return key === undefined || last.get(key) === sequence;
    })
    .map(({ event }) => event);
}

/** What an event replaces; undefined for those that add something. */
function subject(event: DaemonEvent): string | undefined {
  switch (event.type) {
    case 'party':
      return `party ${event.party.id}`;
    case 'party-removed':
      return `party ${event.party}`;
    case 'peer':
      return `peer ${event.party} ${event.peer.id}`;
    case 'peer-removed':
      return `peer ${event.party} ${event.peer}`;
    case 'camera':
      return `camera ${event.camera.name}`;
    case 'camera-removed':
      return `camera ${event.camera}`;
    case 'download':
      return `download ${event.download.id}`;
    case 'media':
      return `media ${event.camera} ${event.item.id}`;
    case 'relays':
    case 'netcheck':
      return event.type;
    case 'path':
    case 'latency':
    case 'media-removed':
    case 'notice':
      return undefined;
    default:
      return event satisfies never;
  }
}
