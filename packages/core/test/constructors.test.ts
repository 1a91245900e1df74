import { describe, expect, test } from 'vitest';
import { packageOf, type Source, sources } from './tree.ts';

/** Types of what a class works with; settings are everything else. */
const COMPONENT_TYPES = /^(?:Clock|Network|Random|Log)\b/;

/** Classes that take their arguments as a document of the original project says. */
const FACADES = 'packages/camera/src/compat/';

interface Bag {
  readonly parents: readonly string[];
  /** Types of its members by name. */
  readonly members: ReadonlyMap<string, string>;
}

interface Constructor {
  readonly file: string;
  readonly name: string;
  readonly parameters: readonly string[];
}

describe('constructors take (components, options)', () => {
  test('no options hold a clock, a network, randomness or a log', () => {
    expect(sources.flatMap(constructorsIn).length).toBeGreaterThan(250);
    expect(mixed(sources.filter(({ file }) => !file.startsWith(FACADES)))).toEqual([]);
  });

  test('components come first', () => {
    const wrong = sources
      .flatMap(constructorsIn)
      .filter(({ parameters }) => parameters.some((one, at) => at > 0 && isComponents(one)))
      .map(({ file, name }) => `${file}: ${name}`);
    expect(wrong).toEqual([]);
  });

  test('the search for mixed options finds them, inherited ones too', () => {
    const source = (text: string): Source => ({ file: 'packages/a/src/b.ts', text, imports: [] });
    const base = 'interface Base {\n  readonly clock?: Clock | undefined;\n}\n';
    const options = "export interface Options extends Omit<Base, 'x'> {\n  limitMs: number;\n}\n";
    const one = 'class One {\n  constructor(options: Options = {}) {\n  }\n}\n';
    const plain = 'class Plain {\n  constructor({ clock }: { clock: Clock }, options: { limitMs: number }) {\n  }\n}\n';
    expect(mixed([source(base + options + one + plain)])).toEqual(['packages/a/src/b.ts: One, options.clock']);
  });
});

function mixed(tree: readonly Source[]): string[] {
  return tree.flatMap((source) =>
    constructorsIn(source).flatMap(({ file, name, parameters }) =>
      parameters
        .map((parameter) => /^(?:options|init): (\w+)/.exec(parameter)?.[1])
        .flatMap((type) => (type === undefined ? [] : membersOf(type, packageOf(file), tree)))
        .filter(([, type]) => COMPONENT_TYPES.test(type))
        .map(([member]) => `${file}: ${name}, options.${member}`),
    ),
  );
}

function isComponents(parameter: string): boolean {
  return /^(?:components\b|[^:]*\}: \{[^}]*\bClock\b)/.test(parameter) || /: \w+Components$/.test(parameter);
}

function constructorsIn({ file, text }: Source): Constructor[] {
  return [...text.matchAll(/^(?:export )?(?:abstract )?class (\w+)[\s\S]*?^\}/gm)].flatMap(([body, name = '']) => {
    const list = /^ {2}(?:private |protected )?constructor\(([\s\S]*?)\) \{/m.exec(body)?.[1];
    return list === undefined ? [] : [{ file, name, parameters: split(list.replace(/\s+/g, ' ').trim()) }];
  });
}

/** The parts of a list, at the commas outside of brackets. */
function split(list: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let part = '';
  for (const [at, char] of [...list].entries()) {
    if ('([{<'.includes(char)) depth++;
    else if (')]}'.includes(char) || (char === '>' && list[at - 1] !== '=')) depth--;
    if (char === ',' && depth === 0) {
      parts.push(part.trim());
      part = '';
    } else part += char;
  }
  return [...parts, part.trim()].filter((one) => one !== '');
}

/** Members of an interface of this package, inherited ones too. */
function membersOf(type: string, of: string, tree: readonly Source[]): [name: string, type: string][] {
  const own = tree.filter(({ file }) => packageOf(file) === of);
  const bag = own.map(({ text }) => bagIn(text, type)).find((found) => found !== undefined);
  if (bag === undefined) return [];
  return [...bag.members, ...bag.parents.flatMap((parent) => membersOf(parent, of, tree))];
}

function bagIn(text: string, type: string): Bag | undefined {
  const found = new RegExp(
    `^(?:export )?interface ${type}\\b(?:<[^{]*?>)?(?: extends ([^{]+?))?\\s*\\{([\\s\\S]*?)^\\}`,
    'm',
  ).exec(text);
  if (found === null) return undefined;
  const [, parents = '', body = ''] = found;
  return {
    parents: split(parents.trim()).map(
      (parent) => /^(?:Omit|Pick|Partial)<(\w+)/.exec(parent)?.[1] ?? /^\w+/.exec(parent)![0],
    ),
    members: new Map(
      [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??: ([^;]+);/gm)].map(([, name = '', of = '']) => [name, of]),
    ),
  };
}
