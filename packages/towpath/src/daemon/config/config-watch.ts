import { type FSWatcher, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import { errorMessage, type Timer } from '@towpath/core';
import type { Runtime } from '../../cli/runtime.ts';

/** Editors write a file in several steps. */
const SETTLE_MS = 200;

/** Calls back when the configuration file was changed, also when an editor has replaced it. */
export class ConfigWatch implements Disposable {
  readonly #watcher: FSWatcher | undefined;
  #timer: Timer | undefined;

  constructor({ clock, log }: Pick<Runtime, 'clock' | 'log'>, path: string, onChange: () => Promise<void>) {
    const changed = () => {
      this.#timer?.cancel();
      this.#timer = clock.timer(SETTLE_MS, () => {
        onChange().catch((error: unknown) => log.error(`The configuration was not read: ${errorMessage(error)}`));
      });
    };
    try {
      this.#watcher = watch(dirname(path), (_event, name) => {
        if (name === null || name === basename(path)) changed();
      });
      this.#watcher.on('error', (error) => log.warn(`The configuration is not watched: ${error.message}`));
    } catch (error) {
      log.warn(`The configuration is not watched; changes take effect at the next start: ${errorMessage(error)}`);
    }
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel();
    this.#watcher?.close();
  }
}
