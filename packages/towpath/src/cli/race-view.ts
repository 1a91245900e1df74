import type { AttemptReport, AttemptState, RaceProgress, RaceReport } from '@towpath/core';
import type { Io, Style } from './io.ts';
import { columns, cut, formatMs, wrap } from './table.ts';

const MARKS: Record<AttemptState, [string, Style]> = {
  pending: ['·', 'dim'],
  running: ['…', 'cyan'],
  success: ['✓', 'green'],
  failed: ['✗', 'red'],
  cancelled: ['–', 'dim'],
};

/**
 * Shows a race, one line per attempt: on a terminal it is drawn in place as it runs; elsewhere it is printed when it has
 * ended, because lines that are soon outdated only hide the result.
 */
export class RaceView {
  readonly #io: Io;
  readonly #attempts = new Map<string, AttemptReport>();
  #drawnLines = 0;

  constructor(io: Io) {
    this.#io = io;
  }

  /** Takes one step of the race. */
  step({ attempt }: RaceProgress): void {
    this.#attempts.set(attempt.id, attempt);
    if (this.#io.interactive) this.#redraw(this.#lines([...this.#attempts.values()], 'cut'));
  }

  /** Prints a warning, above the attempts that are drawn in place. */
  note(text: string): void {
    const drawn = this.#drawnLines;
    const note = drawn === 0 ? [text] : wrap(text, Math.max(20, this.#io.columns - 1));
    const lines = note.map((line) => this.#io.style('yellow', line));
    if (drawn === 0) for (const line of lines) this.#io.err(line);
    else this.#io.redraw([...lines, ...this.#lines([...this.#attempts.values()], 'cut')], drawn);
  }

  /** Shows the final state of every attempt and clears the view. */
  finish(report: RaceReport): void {
    const lines = this.#lines(report.attempts, 'wrapped');
    if (this.#io.interactive) this.#redraw(lines);
    else for (const line of lines) this.#io.err(line);
    this.#attempts.clear();
    this.#drawnLines = 0;
  }

  #redraw(lines: readonly string[]): void {
    this.#io.redraw(lines, this.#drawnLines);
    this.#drawnLines = lines.length;
  }

  /** @param long what to do with lines that are wider than the terminal; lines that are drawn again must not wrap */
  #lines(attempts: readonly AttemptReport[], long: 'cut' | 'wrapped'): string[] {
    const width = Math.max(20, this.#io.columns - 1 - INDENT.length - MARK_WIDTH);
    const won = attempts.some(({ state }) => state === 'success');
    const all = attempts.map((attempt) => cells(attempt, won));
    const aligned = columns(all, [3]);
    const fits = aligned.every((row) => row.length <= width);
    return attempts.flatMap(({ state }, at) => {
      const [mark, style] = MARKS[state];
      const brief = (all[at] ?? []).filter((cell) => cell !== '').join(' ');
      const parts = fits ? [aligned[at] ?? ''] : long === 'cut' ? [cut(brief, width)] : wrap(brief, width);
      return parts.map((part, line) => {
        const before = line === 0 ? `${mark} ` : ' '.repeat(MARK_WIDTH);
        return INDENT + this.#io.style(style, before + part);
      });
    });
  }
}

const INDENT = '  ';
const MARK_WIDTH = 2;

/** @param won an attempt has succeeded, so that the others were cancelled */
function cells(attempt: AttemptReport, won: boolean): string[] {
  const { kind, label, localPort, elapsedMs, state } = attempt;
  return [
    kind.toUpperCase(),
    label,
    localPort === undefined ? '' : `from port ${localPort}`,
    elapsedMs === undefined ? '' : formatMs(elapsedMs),
    why(attempt, state, won),
  ];
}

function why(attempt: AttemptReport, state: AttemptState, won: boolean): string {
  switch (state) {
    case 'success':
      return 'success: first answer';
    case 'failed':
      return attempt.error?.message ?? 'failed';
    case 'cancelled':
      if (attempt.continues) return 'still searching for a better path';
      if (attempt.startedAtMs === undefined) return won ? 'not needed' : 'not started';
      return won ? 'no answer (another attempt won)' : 'no answer before the time limit';
    case 'running':
      return attempt.retries ? `running, ${attempt.retries} retransmissions` : 'running';
    case 'pending':
      return 'not started yet';
    default:
      return state satisfies never;
  }
}
