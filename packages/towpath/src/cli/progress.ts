import type { Io } from './io.ts';

/** One line that is drawn over itself on a terminal; elsewhere it says nothing, so that logs stay short. */
export class ProgressLine {
  readonly #io: Io;
  #drawn = false;

  constructor(io: Io) {
    this.#io = io;
  }

  show(text: string): void {
    if (!this.#io.interactive) return;
    this.#io.draw(`\r\x1b[2K${text.slice(0, Math.max(10, this.#io.columns - 1))}`);
    this.#drawn = true;
  }

  /** Removes the line, so that something lasting can be written. */
  clear(): void {
    if (this.#drawn) this.#io.draw('\r\x1b[2K');
    this.#drawn = false;
  }
}

/** `[████████░░░░] ` for a share from 0 to 1. */
export function bar(share: number, width = 24): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * width);
  return `[${'█'.repeat(full)}${'░'.repeat(width - full)}]`;
}
