import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

/** A package that another one needs to run. */
export interface NeededPackage {
  readonly name: string;
  /** Absolute, without links. */
  readonly folder: string;
  /** Where it belongs below the root's node_modules: `a`, or `a/node_modules/b`. */
  readonly place: string;
  /** One of this repository: it has to be built. */
  readonly isOwn: boolean;
}

interface Manifest {
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}

/**
 * Returns everything that a package needs to run, as it is installed in the repository: no registry is asked.
 * @param root of the repository
 * @throws Error when a dependency is not installed
 */
export function closureOf(root: string, folder: string): NeededPackage[] {
  const found = new Map<string, NeededPackage>();
  const packages = join(root, 'packages');
  const visit = (from: string) => {
    const { dependencies = {}, optionalDependencies = {} } = manifestOf(from);
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
      const installed = locate(root, from, name);
      if (installed === undefined) {
        if (name in optionalDependencies) continue;
        throw new Error(`${name}, which ${from} needs, is not installed. Next: npm ci`);
      }
      const real = realpathSync(installed);
      if (found.has(real)) continue;
      const isOwn = real.startsWith(`${packages}/`) && !real.includes('/node_modules/');
      found.set(real, { name, folder: real, place: isOwn ? name : placeOf(root, installed), isOwn });
      visit(real);
    }
  };
  visit(folder);
  return [...found.values()];
}

function manifestOf(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;
}

/** As Node does: in the folder itself, then further up. */
function locate(root: string, from: string, name: string): string | undefined {
  for (let at = from; at.startsWith(root); at = dirname(at)) {
    const candidate = join(at, 'node_modules', name);
    if (existsSync(join(candidate, 'package.json'))) return candidate;
  }
  return undefined;
}

/** What a workspace has for itself moves into its place below the root's node_modules. */
function placeOf(root: string, installed: string): string {
  const path = relative(root, installed);
  const own = /^packages\/([\w-]+)\/node_modules\/(.+)$/.exec(path);
  if (own === null) return path.replace(/^node_modules\//, '');
  return own[1] === 'towpath' ? (own[2] ?? '') : `@towpath/${own[1]}/node_modules/${own[2]}`;
}
