/**
 * Builds one package for the registry: JavaScript for Node 22 and its type declarations in `dist/`. The repository itself
 * runs from the sources; only what is packed is built.
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { build } from 'tsdown';

/** The oldest Node that the packed packages run on: the first one whose `node:sqlite` has `backup`. */
export const OLDEST_NODE = '22.16.0';

/** A package's exports as the sources have them: subpath → TypeScript file. */
export type SourceExports = Readonly<Record<string, string>>;

/** `./src/simulated/index.ts` of subpath `./simulated` → entry `simulated`; the root is `index`. */
export function entryName(subpath: string): string {
  return subpath === '.' ? 'index' : subpath.slice(2).replaceAll('/', '-');
}

/**
 * Builds the package in `folder` into its `dist/`.
 *
 * @param folder absolute path of the package
 * @param exports its `exports`, as in the sources
 * @throws when a file cannot be compiled
 */
export async function buildPackage(folder: string, exports: SourceExports): Promise<void> {
  const entries: Record<string, string> = {};
  for (const [subpath, file] of Object.entries(exports)) entries[entryName(subpath)] = join(folder, file);
  for (const file of startedFiles(folder)) entries[basename(file, '.ts')] = file;
  const main = join(folder, 'src/main.ts');
  if (basename(folder) === 'towpath') entries.main = main;
  rmSync(join(folder, 'dist'), { recursive: true, force: true });
  await build({
    cwd: folder,
    entry: entries,
    outDir: join(folder, 'dist'),
    format: 'esm',
    platform: 'node',
    target: `node${OLDEST_NODE}`,
    outExtensions: () => ({ js: '.js', dts: '.d.ts' }),
    dts: Object.keys(exports).length > 0 ? { oxc: true } : false,
    logLevel: 'warn',
    config: false,
    plugins: [
      {
        name: 'started-files',
        transform: (code: string) =>
          code.replace(STARTED_FILE, (_all, name: string) => `new URL('./${name}.js', import.meta.url)`),
      },
    ],
  });
}

/** How the sources name a file that they start as a process or a thread of its own. */
const STARTED_FILE = /new URL\('\.\/(?:[\w-]+\/)*([\w-]+)\.ts', import\.meta\.url\)/g;

function startedFiles(folder: string): string[] {
  const files: string[] = [];
  for (const entry of readdirSync(join(folder, 'src'), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.ts')) continue;
    const code = readFileSync(join(entry.parentPath, entry.name), 'utf8');
    for (const [all] of code.matchAll(STARTED_FILE)) {
      const path = /'(\.\/[^']+)'/.exec(all)?.[1] ?? '';
      files.push(join(entry.parentPath, path));
    }
  }
  return files;
}

/** A package's manifest as the sources have it. */
export interface SourceManifest {
  name: string;
  exports?: SourceExports;
  bin?: Record<string, string>;
  scripts?: Record<string, string>;
  devDependencies?: Record<string, string>;
  private?: boolean;
  [key: string]: unknown;
}

/** The manifest of the published package. @param folder of the package */
export function publishedManifest(source: SourceManifest, folder: string): Record<string, unknown> {
  const { private: _private, scripts: _scripts, exports = {}, ...manifest } = source;
  return {
    ...manifest,
    engines: { node: `>=${OLDEST_NODE}` },
    ...(Object.keys(exports).length > 0 ? { exports: builtExports(exports) } : {}),
    ...('.' in exports ? { types: './dist/index.d.ts' } : {}),
    files: ['dist', ...(manifest.bin ? ['bin'] : []), ...(basename(folder) === 'dashboard' ? ['page'] : [])],
  };
}

function builtExports(exports: SourceExports): Record<string, { types: string; default: string }> {
  const built = Object.keys(exports).map((subpath) => {
    const name = entryName(subpath);
    return [subpath, { types: `./dist/${name}.d.ts`, default: `./dist/${name}.js` }] as const;
  });
  return Object.fromEntries(built);
}
