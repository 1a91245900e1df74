import { errorMessage, type Log } from '@towpath/core';
import type { PartyId } from '../identity/keys.ts';
import type { ClientStorage, SavedParty } from './client-storage.ts';

/** Stores parties as they change: one write at a time, however fast they change, and always the newest. */
export class PartySaver {
  readonly #storage: ClientStorage;
  readonly #log: Log;
  readonly #current: (party: PartyId) => SavedParty | undefined;
  readonly #dirty = new Set<PartyId>();
  #saving: Promise<void> | undefined;

  /** @param current what there is to store of a party; undefined when it is to be forgotten. */
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
    // What changes in this turn goes into one write.
    await Promise.resolve();
    for (const party of this.#dirty) {
      this.#dirty.delete(party);
      const saved = this.#current(party);
      try {
        if (saved === undefined) await this.#storage.remove(party);
        else await this.#storage.save(party, saved);
      } catch (error) {
        this.#log.error('a party could not be stored', { party, error: errorMessage(error) });
      }
    }
  }
}
