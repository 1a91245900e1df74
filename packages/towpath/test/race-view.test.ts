import type { AttemptReport, RaceReport } from '@towpath/core';
import { describe, expect, test } from 'vitest';
import { RaceView } from '../src/cli/race-view.ts';
import { cut } from '../src/cli/table.ts';
import { testIo } from './test-io.ts';

const attempt = (id: string, more: Partial<AttemptReport>): AttemptReport =>
  ({
    id,
    kind: 'p2p',
    label: '192.168.43.1:40611',
    state: 'running',
    localPort: 51_234,
    elapsedMs: 12,
    ...more,
  }) as AttemptReport;
const won = attempt('a', { state: 'success' });
const lost = attempt('b', { label: '192.168.43.1:32100', state: 'cancelled', startedAtMs: 1 });
const report = { attempts: [won, lost] } as unknown as RaceReport;

function shown(columns: number, interactive: boolean) {
  const err: string[] = [];
  const drawn: string[][] = [];
  const io = {
    ...testIo(),
    columns,
    interactive,
    err: (line: string) => void err.push(line),
    redraw: (lines: readonly string[]) => void drawn.push([...lines]),
  };
  const view = new RaceView(io);
  view.step({ type: 'started', attempt: attempt('a', {}) } as never);
  view.finish(report);
  return { err, drawn };
}

describe('the view of a race (A5)', () => {
  test('without a terminal prints each attempt once, when its result is known', () => {
    const { err, drawn } = shown(Number.MAX_SAFE_INTEGER, false);
    expect(drawn).toEqual([]);
    expect(err).toEqual([
      '  ✓ P2P  192.168.43.1:40611  from port 51234  12 ms  success: first answer',
      '  – P2P  192.168.43.1:32100  from port 51234  12 ms  no answer (another attempt won)',
    ]);
  });

  test.each([40, 80])('on %i columns marks what it cuts while it runs, and shows everything at the end', (columns) => {
    const { drawn } = shown(columns, true);
    const [running = [], finished = []] = drawn;
    for (const line of [...running, ...finished]) expect(line.length).toBeLessThan(columns);
    expect(running).toHaveLength(1);
    expect(running[0]!.endsWith('…') || running[0]!.endsWith('running')).toBe(true);
    const text = finished.map((line) => line.trim()).join(' ');
    for (const part of ['✓', '192.168.43.1:40611', 'success: first answer', 'no answer (another attempt won)'])
      expect(text).toContain(part);
  });

  test.each([true, false])('a warning is printed above what is drawn in place (terminal: %s)', (interactive) => {
    const printed: { lines: string[]; above: number }[] = [];
    const io = {
      ...testIo({ columns: 26, interactive }),
      err: (line: string) => void printed.push({ lines: [line], above: 0 }),
      redraw: (lines: readonly string[], above: number) => void printed.push({ lines: [...lines], above }),
    };
    const view = new RaceView(io);
    view.step({ type: 'started', attempt: attempt('a', {}) } as never);
    const race = printed.shift()?.lines ?? [];
    view.note('What is said of it is wrong.');
    const inPlace = { lines: ['What is said of it is', 'wrong.', ...race], above: 1 };
    expect(race).toHaveLength(interactive ? 1 : 0);
    expect(printed).toEqual([interactive ? inPlace : { lines: ['What is said of it is wrong.'], above: 0 }]);
  });

  test('a line that fits is not marked', () => {
    expect([cut('abc', 3), cut('abcd', 3)]).toEqual(['abc', 'ab…']);
  });
});
