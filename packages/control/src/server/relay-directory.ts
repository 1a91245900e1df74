import { type Clock, errorMessage, type Log } from '@towpath/core';
import type { Relay } from '../control-plane.ts';
import type { ControlStore, StoredRecord } from '../store/store.ts';
import { relaySchema } from '../wire/messages.ts';

/** A relay without a report for this time is removed from the list. */
const REPORT_LASTS_MS = 30_000;

/** The relays for members: configured ones and those that report themselves, on any server. */
export class RelayDirectory {
  readonly #store: ControlStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #fixed: readonly Relay[];
  readonly #onChange: (relays: readonly Relay[]) => void;
  #current: readonly Relay[];

  constructor(
    components: { store: ControlStore; clock: Clock; log: Log },
    options: { fixed: readonly Relay[]; onChange(relays: readonly Relay[]): void },
  ) {
    this.#store = components.store;
    this.#clock = components.clock;
    this.#log = components.log;
    this.#fixed = options.fixed;
    this.#onChange = options.onChange;
    this.#current = options.fixed;
  }

  /** Healthy ones first, then by load. */
  get current(): readonly Relay[] {
    return this.#current;
  }

  /** Takes a relay's report, valid for 30 s, and informs the other servers. */
  async report(relay: Relay): Promise<void> {
    const value = new TextEncoder().encode(JSON.stringify(relay));
    await this.#store.putRecord('relay', relay.id, value, this.#clock.wallTime() + REPORT_LASTS_MS);
    this.#store.publish('relays', new Uint8Array(0));
    await this.refresh();
  }

  /** Reads the list again and emits it if it has changed. */
  async refresh(): Promise<void> {
    const reported = this.#read(await this.#store.listRecords('relay'));
    const ids = new Set(reported.map((relay) => relay.id));
    const all = [...this.#fixed.filter((relay) => !ids.has(relay.id)), ...reported];
    all.sort((a, b) => Number(b.healthy) - Number(a.healthy) || a.load - b.load || (a.id < b.id ? -1 : 1));
    if (JSON.stringify(all) === JSON.stringify(this.#current)) return;
    this.#current = all;
    this.#onChange(all);
  }

  #read(records: readonly StoredRecord[]): Relay[] {
    const relays: Relay[] = [];
    let malformed = 0;
    let last: unknown;
    for (const { value } of records) {
      try {
        relays.push(relaySchema.parse(JSON.parse(new TextDecoder().decode(value))));
      } catch (error) {
        malformed++;
        last = error;
      }
    }
    // The store may hold any number of them, and is read every few seconds.
    if (malformed > 0) {
      this.#log.warn('relay records in the store are malformed', { records: malformed, error: errorMessage(last) });
    }
    return relays;
  }
}
