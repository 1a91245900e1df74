import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type BenchResult, machine, row, table } from '../support/bench.ts';
import { replaceTable } from '../support/results-file.ts';

const result = (bench: string): BenchResult => ({
  bench,
  machine: machine(),
  rows: [row({ case: 'new', metric: 'time', value: 1, unit: 'ms', baseline: 2, goal: '≤ 3 ms', met: true })],
});
const text = [
  ...[
    '# Benchmarks',
    '',
    '## a',
    '',
    'about a',
    '',
    'By hand.',
    '',
    '| case | metric |',
    '| --- | --- |',
    '| old | x |',
    '',
  ],
  ...['After it.', '', '| other | table |', '', '## b', '', 'about b', '', '| case | metric |', '| old b | y |', ''],
  ...['## mesh: by hand', '', 'text', ''],
].join('\n');

describe('the table of a bench in RESULTS.md', () => {
  it('is replaced; the text around it, other tables and other sections stay', () => {
    const old = '| case | metric |\n| --- | --- |\n| old | x |';
    expect(replaceTable(text, result('a'), 'about')).toBe(text.replace(old, table(result('a'))));
  });

  it('of a new bench stands before the sections of system tests', () => {
    const added = `## c\n\nabout c\n\n${table(result('c'))}\n\n## mesh: by hand`;
    expect(replaceTable(text, result('c'), 'about c')).toBe(text.replace('## mesh: by hand', added));
  });

  it('is not put where there is none, which is said', () => {
    expect(() => replaceTable('# x\n\n## a\n\ntext\n', result('a'), 'about')).toThrow('has no table');
  });

  it('is found for every bench that the file has', () => {
    const file = readFileSync(new URL('../RESULTS.md', import.meta.url), 'utf8');
    const benches = [...file.matchAll(/^## ([a-z-]+)$/gm)].map(([, name]) => name!);
    expect(benches.length).toBeGreaterThan(10);
    for (const bench of benches)
      expect(replaceTable(file, result(bench), '')).toContain('| new | time | 1 ms | 2 ms |');
  });
});
