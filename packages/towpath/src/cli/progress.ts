import type { Clock } from '@towpath/core';
import type { Io } from './io.ts';
import { cut } from './table.ts';

/** One line that is redrawn in place on a terminal; without a terminal it prints nothing, to keep logs short. */
export class ProgressLine {
  readonly #io: Io;
  #drawn = false;

  constructor(io: Io) {
    this.#io = io;
  }

  show(text: string): void {
    if (!this.#io.interactive) return;
    this.#io.draw(cut(text, Math.max(10, this.#io.columns - 1)));
    this.#drawn = true;
  }

  /** Removes the line, so that other output can follow. */
  clear(): void {
    if (this.#drawn) this.#io.draw('');
    this.#drawn = false;
  }
}

/** What takes no longer is not worth a line, ms. */
const SHOWN_AFTER_MS = 1_000;

/** Shows on a terminal what is waited for, when it takes longer than a second; until disposed. */
export function showWait({ io, clock }: { io: Io; clock: Clock }, text: string): Disposable {
  const line = new ProgressLine(io);
  const timer = clock.timer(SHOWN_AFTER_MS, () => line.show(text));
  return {
    [Symbol.dispose]: () => {
      timer.cancel();
      line.clear();
    },
  };
}

/** `[████████░░░░] ` for a share from 0 to 1. */
export function bar(share: number, width = 24): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * width);
  return `[${'█'.repeat(full)}${'░'.repeat(width - full)}]`;
}
