import { readFileSync } from 'node:fs';
import { dirname, join, resolve, sep } from 'node:path';
import { describe, expect, test } from 'vitest';
import { OWN_TIMERS } from './own-timers.ts';
import { PACKAGES, packageOf, packages, ROOT, type Source, sources } from './tree.ts';

/**
 * Where sources may use the platform's own timers, time or randomness, and why. Everywhere else time comes from a
 * `Clock`, and randomness from a `Random` (docs/architecture.md).
 */
const ALLOWED: Readonly<Record<string, string>> = {
  'packages/core/src/clock.ts': 'the clock itself',
  'packages/core/src/random.ts': 'the randomness itself',
  'packages/core/src/virtual-clock.ts': 'lets promise reactions run between two instants',
  'packages/control/src/http/control-server.ts': 'closes sockets after the answer has left, without a delay',
  'packages/control/src/store/sqlite-store.ts': 'gathers the writes of one turn of the event loop, without a delay',
  'packages/control/src/identity/secret-file.ts': 'a file name that no other process has',
  'packages/towpath/src/cli/io.ts': 'a mark in the output that text of a device cannot guess',
  'packages/towpath/src/cli/end-process.ts': 'watches the end of the process, when everything that has a clock is gone',
  'packages/towpath/src/main.ts': 'tells two key presses from one, before any module is loaded',
  'packages/camera/src/store/disk.ts': 'the access time of a file, which nothing reads',
};
const WAITS = /\bclock\.(?:timer|sleep)\(/i;

/** Code of the browser, which has no `Clock`. */
const BROWSER = 'packages/dashboard/src/web/';

const PLATFORM = [
  // A method of another object has the same name: `server.setTimeout` of node:http.
  /(?<![.\w])(?:globalThis\.)?set(?:Timeout|Interval|Immediate)\b/,
  /\bDate\.now\b|\bnew Date\(\)/,
  /\bMath\.random\b/,
  /\bperformance\.now\b/,
  /\bAbortSignal\.timeout\b/,
  /\bnode:timers\b/,
  /\b(?:randomBytes|randomInt|randomUUID|getRandomValues)\b/,
];

/** State of a module or a class: variables, static fields, collections that begin empty. */
const CHANGING = [
  /^(?:export )?let /m,
  /^ +(?:(?:private|protected|public) )?static (?!(?:override )?readonly |(?:async )?\*?#?\w+[(<]|(?:get|set) |\{)/m,
  /^ +(?:(?:private|protected|public) )?static [^\n(]*= new (?:Map|Set|WeakMap|WeakSet)\b/m,
  /^(?:export )?const \w+(?:: (?!Readonly)[^=\n]*)? = new (?:Map|Set|WeakMap|WeakSet)(?:<.*>)?\(\)/m,
];

describe('the tree', () => {
  test('every package has a floor in docs/architecture.md and imports from lower floors only', () => {
    const floors = floorsOfTheDocument();
    expect([...floors.keys()].toSorted()).toEqual(packages.toSorted());
    const wrong = sources.flatMap(({ file, imports }) =>
      imports.flatMap((specifier) => {
        const to = /^@towpath\/([a-z]+)/.exec(specifier)?.[1];
        const from = packageOf(file);
        if (to === undefined || to === from) return [];
        return floors.get(to)! < floors.get(from)! ? [] : [`${file} imports ${specifier}`];
      }),
    );
    expect(wrong).toEqual([]);
  });

  test('manifests depend on the packages of lower floors that the sources import, and on no other', () => {
    for (const name of packages) {
      const { dependencies = {} } = JSON.parse(readFileSync(join(PACKAGES, name, 'package.json'), 'utf8'));
      const declared = Object.keys(dependencies).filter((dependency) => dependency.startsWith('@towpath/'));
      const used = sources
        .filter(({ file }) => packageOf(file) === name)
        .flatMap(({ imports }) => imports.map((specifier) => /^@towpath\/[a-z]+/.exec(specifier)?.[0]));
      const wanted = new Set(used.filter((one) => one !== undefined && one !== `@towpath/${name}`));
      expect([name, declared.toSorted()]).toEqual([name, [...wanted].toSorted()]);
    }
  });

  test('sources reach other packages by name, not by path', () => {
    const wrong = sources.flatMap(({ file, imports }) =>
      imports
        .filter((specifier) => specifier.startsWith('.'))
        .filter((specifier) => !within(join('packages', packageOf(file), 'src'), join(dirname(file), specifier)))
        .map((specifier) => `${file} imports ${specifier}`),
    );
    expect(wrong).toEqual([]);
  });

  test('no file imports itself by way of others, types included', () => {
    expect(circles(sources)).toEqual([]);
  });

  test('the search for circles finds them', () => {
    const source = (file: string, ...imports: string[]): Source => ({ file, text: '', imports });
    const tree = [
      source('a.ts', './b.ts', './d.ts'),
      source('b.ts', './c.ts'),
      source('c.ts', './a.ts'),
      source('d.ts'),
    ];
    expect(circles(tree)).toEqual(['a.ts, b.ts, c.ts']);
  });

  test('time and randomness come from outside', () => {
    const users = sources.filter(
      ({ file, text }) => !file.startsWith(BROWSER) && PLATFORM.some((use) => use.test(text)),
    );
    // Both directions: an exception that is not needed any more is removed from the list.
    expect(users.map(({ file }) => file).toSorted()).toEqual(Object.keys(ALLOWED).toSorted());
  });

  test('what is waited for is waited for by the primitives of core', () => {
    const users = sources.filter(({ file, text }) => packageOf(file) !== 'core' && WAITS.test(text));
    expect(users.map(({ file }) => file).toSorted()).toEqual(Object.keys(OWN_TIMERS).toSorted());
  });

  test('no class and no module keeps what changes', () => {
    const keepers = sources.flatMap(({ file, text }) =>
      CHANGING.some((use) => use.test(text)) && !file.startsWith(BROWSER) ? [file] : [],
    );
    expect(keepers).toEqual([]);
  });

  test('the search for what changes finds it', () => {
    const isFound = (line: string) => CHANGING.some((use) => use.test(line));
    const found = [
      'let count = 0;',
      'export let count = 0;',
      '  static #count = 0;',
      '  static #count: number | undefined;',
      '  static readonly #writing = new Map<string, Promise<void>>();',
      '  private static readonly writing: Map<string, number> = new WeakMap();',
      'const seen = new Set<string>();',
      'export const seen: Map<string, number> = new Map();',
    ];
    expect(found.filter((line) => !isFound(line))).toEqual([]);
    const others = [
      '  let count = 0;',
      '  static of(text: string): Name {',
      '  static #parse(text: string): Name {',
      '  static override readonly kinds: Readonly<Record<string, string>> = {',
      'const KNOWN: ReadonlySet<string> = new Set([',
      'const KNOWN = new Set([1, 2]);',
      'const NONE: ReadonlyMap<string, number> = new Map();',
    ];
    expect(others.filter(isFound)).toEqual([]);
  });

  test('the search for timers finds them', () => {
    const found = [
      'setTimeout(run, 5)',
      'globalThis.setInterval(run, 5)',
      'const now = Date.now();',
      'const at = new Date();',
      'Math.random()',
      'performance.now()',
      'AbortSignal.timeout(5)',
      "import { setTimeout as sleep } from 'node:timers/promises';",
      'randomUUID()',
    ];
    for (const line of found) expect([line, PLATFORM.some((use) => use.test(line))]).toEqual([line, true]);
    for (const line of ['server.setTimeout(5)', 'new Date(atMs)', 'clock.now()', 'sleep(5)']) {
      expect([line, PLATFORM.some((use) => use.test(line))]).toEqual([line, false]);
    }
  });
});

/** The table "Packages" of the document: floor and name of each. */
function floorsOfTheDocument(): ReadonlyMap<string, number> {
  const text = readFileSync(join(ROOT, 'docs/architecture.md'), 'utf8');
  return new Map([...text.matchAll(/^\| (\d) \| `([a-z]+)` \|/gm)].map(([, floor, name]) => [name!, Number(floor)]));
}

function within(folder: string, path: string): boolean {
  return resolve(ROOT, path).startsWith(resolve(ROOT, folder) + sep);
}

/** The strongly connected parts of the import graph that have more than one file (Tarjan). */
function circles(tree: readonly Source[]): string[] {
  const graph = new Map(
    tree.map(({ file, imports }) => [
      file,
      imports.filter((specifier) => specifier.startsWith('.')).map((specifier) => join(dirname(file), specifier)),
    ]),
  );
  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const stack: string[] = [];
  const found: string[] = [];
  const visit = (file: string) => {
    order.set(file, order.size);
    lowest.set(file, order.get(file)!);
    stack.push(file);
    for (const next of graph.get(file) ?? []) {
      if (!graph.has(next)) continue;
      if (!order.has(next)) visit(next);
      else if (!stack.includes(next)) continue;
      lowest.set(file, Math.min(lowest.get(file)!, lowest.get(next)!));
    }
    if (lowest.get(file) !== order.get(file)) return;
    const part = stack.splice(stack.indexOf(file));
    if (part.length > 1) found.push(part.toSorted().join(', '));
  };
  for (const file of graph.keys()) if (!order.has(file)) visit(file);
  return found;
}
