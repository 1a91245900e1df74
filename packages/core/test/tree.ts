import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';

export const ROOT: string = join(import.meta.dirname, '../../..');
export const PACKAGES: string = join(ROOT, 'packages');

/** A source file without its comments. */
export interface Source {
  /** Path from the repository's root. */
  readonly file: string;
  readonly text: string;
  readonly imports: readonly string[];
}

/** Names of the workspaces' folders. */
export const packages: readonly string[] = readdirSync(PACKAGES).filter((name) =>
  existsSync(join(PACKAGES, name, 'package.json')),
);

/** Every source file of every package. */
export const sources: readonly Source[] = packages.flatMap((name) => sourcesIn(join(PACKAGES, name, 'src')));

export function sourcesIn(folder: string): Source[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name))
    .map((entry) => {
      const path = join(entry.parentPath, entry.name);
      const text = withoutComments(readFileSync(path, 'utf8'));
      const imports = [...text.matchAll(/\b(?:from|import)\s*\(?\s*'([^'\n]+)'/g)].map(([, specifier]) => specifier!);
      return { file: relative(ROOT, path).split(sep).join('/'), text, imports };
    });
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
}

export function packageOf(file: string): string {
  return file.split('/')[1] ?? '';
}
