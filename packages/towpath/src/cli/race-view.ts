import type { AttemptReport, AttemptState, RaceProgress, RaceReport } from '@towpath/core';
import type { Io, Style } from './io.ts';
import { columns, formatMs } from './table.ts';

const MARKS: Record<AttemptState, [string, Style]> = {
  pending: ['·', 'dim'],
  running: ['…', 'cyan'],
  success: ['✓', 'green'],
  failed: ['✗', 'red'],
  cancelled: ['–', 'dim'],
};

/**
 * Draws a race as it runs, one line per attempt: in place on a terminal, else a line whenever an attempt starts or ends.
 */
export class RaceView {
  readonly #io: Io;
  readonly #attempts = new Map<string, AttemptReport>();
  #drawnLines = 0;

  constructor(io: Io) {
    this.#io = io;
  }

  /** Takes one step of the race. */
  step({ type, attempt }: RaceProgress): void {
    this.#attempts.set(attempt.id, attempt);
    if (this.#io.interactive) this.#redraw([...this.#attempts.values()]);
    else if (type !== 'noted' && type !== 'cancelled') this.#io.err(`  ${type.padEnd(8)} ${describe(attempt)}`);
  }

  /** The last picture, with what became of everyone; then the view begins anew. */
  finish(report: RaceReport): void {
    if (this.#io.interactive) {
      this.#redraw(report.attempts);
    } else {
      for (const line of this.#lines(report.attempts)) this.#io.err(line);
    }
    this.#attempts.clear();
    this.#drawnLines = 0;
  }

  #redraw(attempts: readonly AttemptReport[]): void {
    const lines = this.#lines(attempts);
    const up = this.#drawnLines > 0 ? `\x1b[${this.#drawnLines}A` : '';
    this.#io.draw(up + lines.map((line) => `\x1b[2K${line}\n`).join(''));
    this.#drawnLines = lines.length;
  }

  #lines(attempts: readonly AttemptReport[]): string[] {
    const won = attempts.some(({ state }) => state === 'success');
    const rows = columns(
      attempts.map((attempt) => cells(attempt, won)),
      [3],
    );
    return rows.map((row, at) => {
      const state = attempts[at]?.state ?? 'pending';
      const [mark, style] = MARKS[state];
      const text = `${mark} ${row}`.slice(0, Math.max(20, this.#io.columns - 2));
      return `  ${this.#io.style(style, text)}`;
    });
  }
}

/** @param won somebody has, so that the others were called off */
function cells(attempt: AttemptReport, won: boolean): string[] {
  const { lane, label, localPort, elapsedMs, state } = attempt;
  return [
    lane.toUpperCase(),
    label,
    localPort === undefined ? '' : `from port ${localPort}`,
    elapsedMs === undefined ? '' : formatMs(elapsedMs),
    why(attempt, state, won),
  ];
}

function why(attempt: AttemptReport, state: AttemptState, won: boolean): string {
  switch (state) {
    case 'success':
      return 'won: first to answer';
    case 'failed':
      return attempt.error?.message ?? 'failed';
    case 'cancelled':
      if (attempt.continues) return 'looks for a better path';
      if (attempt.startedAtMs === undefined) return won ? 'not needed' : 'its turn never came';
      return won ? 'silent until another won' : 'no answer in time';
    case 'running':
      return attempt.retries ? `trying, ${attempt.retries} repeats` : 'trying';
    case 'pending':
      return 'waiting for its turn';
    default:
      return state satisfies never;
  }
}

function describe(attempt: AttemptReport): string {
  return cells(attempt, false)
    .filter((cell) => cell !== '')
    .join(' · ');
}
