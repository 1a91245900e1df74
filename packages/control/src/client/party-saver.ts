import { errorMessage, type Log } from '@towpath/core';
import type { PartyId } from '@towpath/membership';
import type { ClientStorage, SavedParty } from './client-storage.ts';

/** Stores parties as they change: one write at a time, always with the newest state. */
export class PartySaver {
  readonly #storage: ClientStorage;
  readonly #log: Log;
  readonly #current: (party: PartyId) => SavedParty | undefined;
  readonly #dirty = new Set<PartyId>();
  #saving: Promise<void> | undefined;

  /** @param current the state of a party to store; undefined to delete it */
  constructor(components: { storage: ClientStorage; log: Log }, current: (party: PartyId) => SavedParty | undefined) {
    this.#storage = components.storage;
    this.#log = components.log;
    this.#current = current;
  }

  changed(party: PartyId): void {
    this.#dirty.add(party);
    this.#saving ??= this.#save().finally(() => {
      this.#saving = undefined;
    });
  }

  /** Resolves when everything is stored. */
  async idle(): Promise<void> {
    await this.#saving;
  }

  async #save(): Promise<void> {
    // Changes of this event loop iteration are combined in one write.
    await Promise.resolve();
    for (const party of this.#dirty) {
      this.#dirty.delete(party);
      const saved = this.#current(party);
      try {
        if (saved === undefined) await this.#storage.remove(party);
        else await this.#storage.save(party, saved);
      } catch (error) {
        this.#log.error('Cannot store a party', { party, error: errorMessage(error) });
      }
    }
  }
}
