import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '../../..');
const SOURCE_FOLDERS = ['packages', 'test', 'bench'];
const SKIPPED = new Set(['node_modules', 'dist', 'coverage']);

/** Cited as a whole: a list of codes. */
const WHOLE_PAGE = 'reasons.md';

/** A page, and the headings that are cited of it. */
interface Citation {
  readonly file: string;
  readonly page: string;
  readonly headings: readonly string[];
}

describe('citations of docs/protocol in comments', () => {
  const citations = SOURCE_FOLDERS.flatMap((folder) => sourceFiles(join(ROOT, folder))).flatMap(citationsOf);

  test('name headings that exist', () => {
    expect(citations.length).toBeGreaterThan(50);
    expect(citations.flatMap(missingHeadings)).toEqual([]);
  });

  test('name a heading, not only a page or a section number', () => {
    const bare = citations
      .filter(({ page, headings }) => headings.length === 0 && page !== WHOLE_PAGE)
      .map(({ file, page }) => `${file}: ${page}`);
    expect(bare).toEqual([]);
  });

  test('replace every reference to a document outside the repository', () => {
    const outside = SOURCE_FOLDERS.flatMap((folder) => sourceFiles(join(ROOT, folder))).filter((file) =>
      /\bspec[ /](?:pppp|artemis|connectivity)\b|\(spec §/.test(readFileSync(file, 'utf8')),
    );
    expect(outside).toEqual([]);
  });
});

function citationsOf(file: string): Citation[] {
  // A citation may continue on the next line of its comment. A page in quotes is the path of a file.
  const text = readFileSync(file, 'utf8').replace(/\s*\n\s*(?:\*|\/\/) ?/g, ' ');
  const found = text.matchAll(/docs\/protocol\/([a-z]+\.md)(?!')`?((?:,? "[^"\n]+")*)/g);
  return [...found].map(([, page = '', list = '']) => ({
    file: file.slice(ROOT.length + 1),
    page,
    headings: [...list.matchAll(/"([^"]+)"/g)].map(([, heading = '']) => heading),
  }));
}

function missingHeadings({ file, page, headings }: Citation): string[] {
  const known = headingsOf(page);
  return headings.filter((heading) => !known.has(heading)).map((heading) => `${file}: ${page}, "${heading}"`);
}

function headingsOf(page: string): Set<string> {
  const text = readFileSync(join(ROOT, 'docs/protocol', page), 'utf8');
  return new Set([...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => heading));
}

function sourceFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (SKIPPED.has(entry.name)) return [];
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return sourceFiles(path);
    return /\.(?:ts|js|mjs)$/.test(entry.name) && entry.name !== 'citations.test.ts' ? [path] : [];
  });
}
