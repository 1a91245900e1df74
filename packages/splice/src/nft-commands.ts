/** A map or set: family of its table and its name. */
export interface MapRef {
  readonly family: 'ip' | 'ip6' | 'inet' | 'netdev';
  readonly map: string;
}

/** One change of an element. `value` absent: the element of a set. */
export interface ElementChange extends MapRef {
  readonly key: string;
  readonly value?: string;
}

/** A named limit or quota, or a chain. */
export interface ObjectChange {
  readonly family: MapRef['family'];
  readonly kind: 'limit' | 'quota' | 'chain';
  readonly object: string;
  /** Without braces: `rate over 5 bytes/second`; of a chain: its rules, in lines. */
  readonly definition: string;
}

/** Changes that take effect together or not at all. Elements are removed before others are added. */
export interface Change {
  readonly remove?: readonly ElementChange[];
  readonly add?: readonly ElementChange[];
  readonly removeObjects?: readonly ObjectChange[];
  readonly addObjects?: readonly ObjectChange[];
  /** Of the removed elements, those whose counters are returned as they were at the end. */
  readonly readBefore?: readonly ElementChange[];
  /** Nobody waits for it: it may go with later changes, which costs nft less. */
  readonly mayWait?: boolean;
}

/** Returns the commands of one transaction that makes all changes. */
export function commandsOf(changes: readonly Change[], table: string): string[] {
  return [
    ...grouped(changes.flatMap(({ readBefore }) => readBefore ?? [])).map(
      ([map, elements]) => `get element ${at(map, table)} { ${elements.map(({ key }) => key).join(', ')} }`,
    ),
    ...grouped(changes.flatMap(({ remove }) => remove ?? [])).map(
      ([map, elements]) => `delete element ${at(map, table)} { ${elements.map(({ key }) => key).join(', ')} }`,
    ),
    ...changes.flatMap(({ removeObjects }) => (removeObjects ?? []).flatMap((each) => removeObject(each, table))),
    ...changes.flatMap(({ addObjects }) => (addObjects ?? []).flatMap((each) => addObject(each, table))),
    ...addElements(
      changes.flatMap(({ add }) => add ?? []),
      table,
    ),
  ];
}

/** Returns one command for each map. */
export function addElements(elements: readonly ElementChange[], table: string): string[] {
  return grouped(elements).map(
    ([map, each]) => `add element ${at(map, table)} { ${each.map(elementText).join(', ')} }`,
  );
}

/** Returns the commands that make a limit, quota or chain. */
export function addObject({ family, kind, object, definition }: ObjectChange, table: string): string[] {
  const path = `${family} ${table} ${object}`;
  if (kind === 'chain') {
    return [`add chain ${path}`, ...definition.split('\n').map((rule) => `add rule ${path} ${rule}`)];
  }
  return [`add ${kind} ${path} { ${definition}; }`];
}

function removeObject({ family, kind, object }: ObjectChange, table: string): string[] {
  const path = `${family} ${table} ${object}`;
  return kind === 'chain' ? [`flush chain ${path}`, `delete chain ${path}`] : [`delete ${kind} ${path}`];
}

function elementText({ key, value }: ElementChange): string {
  return value === undefined ? key : `${key} : ${value}`;
}

function grouped(elements: readonly ElementChange[]): [MapRef, ElementChange[]][] {
  const groups = new Map<string, ElementChange[]>();
  for (const element of elements) {
    const id = `${element.family} ${element.map}`;
    const group = groups.get(id);
    if (group === undefined) groups.set(id, [element]);
    else group.push(element);
  }
  return [...groups.values()].map((group) => [group[0]!, group]);
}

function at({ family, map }: MapRef, table: string): string {
  return `${family} ${table} ${map}`;
}
