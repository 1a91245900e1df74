import { type BenchResult, table } from './bench.ts';

/**
 * Puts a new table into the text of `bench/RESULTS.md`: the section of the bench keeps what was written into it by hand, and
 * every other section stays as it is. A bench without a section gets one before the sections of system tests.
 * @param about one line: what the bench measures
 * @throws Error when the section has no table
 */
export function replaceTable(text: string, result: BenchResult, about: string): string {
  const heading = `## ${result.bench}\n`;
  const sections = text.split(/^(?=## )/m);
  const at = sections.findIndex((section) => section.startsWith(heading));
  if (at < 0) {
    const [first = sections.length] = sections.flatMap((section, index) =>
      section.startsWith('## mesh:') ? [index] : [],
    );
    return sections.toSpliced(first, 0, `${heading}\n${about}\n\n${table(result)}\n\n`).join('');
  }
  const section = sections[at]!;
  const tables = [...section.matchAll(/(?:^\|.*\n)+/gm)];
  const own = tables.find(([rows]) => rows.startsWith('| case | metric |'));
  if (own === undefined) throw new Error(`The section of ${result.bench} in RESULTS.md has no table.`);
  const end = own.index + own[0].length;
  return sections.toSpliced(at, 1, `${section.slice(0, own.index)}${table(result)}\n${section.slice(end)}`).join('');
}
