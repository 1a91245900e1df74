import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { describe, expect, test } from 'vitest';
import { packageOf, packages, ROOT, type Source, sources, sourcesIn } from './tree.ts';

/** Exports that nothing in the repository uses outside of their package, and why they are there. */
const FOR_APPLICATIONS: Readonly<Record<string, string>> = {
  'camera: AudioType': 'what the frames of `CameraClient.live` hold',
  'camera: VideoType': 'what the frames of `CameraClient.live` hold',
  'camera: watchMedia': 'new pictures as they come; the command line counts checks as well and takes `watchChecks`',
};

/** Failures are told apart by their class and code, wherever they are caught. */
const FAILURE = /Error(?:Code|Name|Details)?$/;

interface Declaration {
  readonly name: string;
  /** Everything that a user of it sees: parameters and results, members, parents. */
  readonly signature: string;
}

describe('a package exports at its root what is used outside of it', () => {
  const users = [
    ...sources,
    ...packages.flatMap((name) => sourcesIn(join(ROOT, 'packages', name, 'test'))),
    ...['bench', 'examples', 'test'].flatMap((folder) => sourcesIn(join(ROOT, folder))),
    ...documents(),
  ];

  test('by another package, an example, a benchmark, a test or a document, or in the signature of such an export', () => {
    const imports = importsOf(users);
    const unused = packages.flatMap((name) => unusedExports(name, sources, imports));
    // Both directions: an exception that is not needed any more is removed from the list.
    expect(unused.toSorted()).toEqual(Object.keys(FOR_APPLICATIONS).toSorted());
  });

  test('no root exports servers, simulators, the emulator, decoders, codecs or test rigs', () => {
    const rigs = /^(?:[A-Z]\w*Server|\w*Emulator|Simulated\w+|Virtual\w+|Fake\w+|decode\w*Capture|\w*Decoder)$/;
    const wrong = packages.flatMap((name) => [...exportsOf(name, sources)].filter((one) => rigs.test(one)));
    expect(wrong).toEqual([]);
  });

  test('the search for unused exports finds them, and follows signatures', () => {
    const source = (file: string, text: string): Source => ({ file, text, imports: [] });
    const tree = [
      source(
        'packages/a/src/index.ts',
        "export { One, two } from './one.ts';\nexport type { Inner, Lost, Outer } from './one.ts';\n",
      ),
      source(
        'packages/a/src/one.ts',
        'export class One {\n  run(options: Outer): void {\n    const unseen: Lost = 1;\n  }\n}\n' +
          'export interface Outer extends Hidden {\n  limit: number;\n}\ninterface Hidden {\n  inner: Inner;\n}\n' +
          'export interface Inner {}\nexport type Lost = number;\nexport function two(): void {\n}\n',
      ),
      source('packages/b/src/b.ts', "import { One } from '@towpath/a';\n"),
    ];
    expect(unusedExports('a', tree, importsOf(tree))).toEqual(['a: two', 'a: Lost']);
  });
});

function unusedExports(name: string, tree: readonly Source[], imports: ReturnType<typeof importsOf>): string[] {
  const exported = exportsOf(name, tree);
  // The own example of a package is a use; its own tests are none.
  const outside = (imports.get(`@towpath/${name}`) ?? []).filter(
    ({ file }) => !file.startsWith(`packages/${name}/`) || file.endsWith('.md'),
  );
  const reached = new Set(outside.map((one) => one.name).filter((one) => exported.has(one)));
  const declared = new Map<string, string>();
  for (const { file, text } of tree) {
    if (packageOf(file) !== name) continue;
    for (const { name: one, signature } of declarationsIn(text)) {
      declared.set(one, `${declared.get(one) ?? ''} ${signature}`);
    }
  }
  // A set that grows while it is read: what a signature names is followed as well.
  for (const one of reached) {
    for (const [word] of (declared.get(one) ?? '').matchAll(/\w+/g)) if (declared.has(word)) reached.add(word);
  }
  return [...exported].filter((one) => !reached.has(one) && !FAILURE.test(one)).map((one) => `${name}: ${one}`);
}

function exportsOf(name: string, tree: readonly Source[]): Set<string> {
  const root = tree.find(({ file }) => file === `packages/${name}/src/index.ts`);
  const lists = [...(root?.text ?? '').matchAll(/export (?:type )?\{([^}]*)\} from/g)];
  return new Set(lists.flatMap(([, list = '']) => namesIn(list).map(({ as }) => as)));
}

/** Imported names by module and by the file that imports them. */
function importsOf(users: readonly Source[]): ReadonlyMap<string, readonly { file: string; name: string }[]> {
  const found = new Map<string, { file: string; name: string }[]>();
  for (const { file, text } of users) {
    const lists = [
      ...text.matchAll(/\bimport (?:type )?\{([^}]*)\} from '(@towpath\/[^']+)'/g),
      ...text.matchAll(/\bconst \{([^{}]*)\} = await import\('(@towpath\/[^']+)'\)/g),
    ];
    for (const [, list = '', module = ''] of lists) {
      const names = namesIn(list).map(({ name }) => ({ file, name }));
      found.set(module, [...(found.get(module) ?? []), ...names]);
    }
  }
  return found;
}

function namesIn(list: string): { name: string; as: string }[] {
  return list
    .split(',')
    .map((one) => one.trim().replace(/^type /, ''))
    .filter((one) => one !== '')
    .map((one) => one.split(/ as |: /))
    .map(([name = '', as = name]) => ({ name, as }));
}

function declarationsIn(text: string): Declaration[] {
  const heads = text.matchAll(/^(?:export )?(?:abstract )?(?:async )?(class|interface|type|function\*?|const) (\w+)/gm);
  return [...heads].map(({ index, 1: kind = '', 2: name = '' }) => ({
    name,
    signature: signatureOf(text.slice(index), kind),
  }));
}

function signatureOf(text: string, kind: string): string {
  if (kind === 'interface') return upTo(text, /^\}|\{\}$/m);
  if (kind === 'type') return upTo(text, /;$/m);
  if (kind === 'const') return upTo(text, /=/);
  return kind === 'class' ? membersOf(upTo(text, /^\}/m)) : upTo(text, / \{$/m);
}

function upTo(text: string, end: RegExp): string {
  const at = text.search(end);
  return at < 0 ? text : text.slice(0, at);
}

/** The heads of a class and of its public members, without bodies. */
function membersOf(text: string): string {
  const kept: string[] = [];
  let open = false;
  for (const line of text.split('\n')) {
    if (open || /^(?: {2}[^ #}]|export|class|abstract)/.test(line)) kept.push(line);
    if (open ? / \{$|;$/.test(line) : /^ {2}\S.*\($/.test(line)) open = !open;
  }
  return kept.join('\n');
}

/** The code of the documents. */
function documents(): Source[] {
  const folders = ['docs', ...packages.map((name) => `packages/${name}`)];
  const files = folders.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: folder === 'docs', withFileTypes: true })
      .filter(({ name }) => name.endsWith('.md'))
      .map(({ name, parentPath }) => join(parentPath, name)),
  );
  return [join(ROOT, 'README.md'), ...files].map((path) => ({
    file: relative(ROOT, path).split(sep).join('/'),
    text: readFileSync(path, 'utf8'),
    imports: [],
  }));
}
