/** An element that was read from the kernel. */
export interface MapElement {
  /** Parts joined by ` . `, as they were added. */
  key: string;
  /** What the key maps to; absent for sets and for values that are neither text nor number. */
  value?: string;
  packets: number;
  bytes: number;
}

/**
 * Returns the elements in what nft printed, JSON or not: some releases print `get element` as text even when asked for
 * JSON. What cannot be understood is left out.
 */
export function parseElements(output: string): MapElement[] {
  const elements: MapElement[] = [];
  let text = '';
  for (const line of output.split('\n')) {
    if (line.startsWith('{"nftables"')) elements.push(...parseJson(line));
    else text += `${line}\n`;
  }
  return text.includes('elements = {') ? elements.concat(parseText(text)) : elements;
}

/** Returns the named counters in what nft printed. */
export function parseCounters(output: string): { name: string; packets: number }[] {
  return output
    .split('\n')
    .filter((line) => line.startsWith('{"nftables"'))
    .flatMap((line) => objectsOf(line))
    .flatMap((object) => {
      const found = record(record(object)?.counter);
      return typeof found?.name === 'string' ? [{ name: found.name, packets: numberOf(found.packets) }] : [];
    });
}

function objectsOf(line: string): unknown[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    return [];
  }
  const objects = record(parsed)?.nftables;
  return Array.isArray(objects) ? objects : [];
}

function parseJson(line: string): MapElement[] {
  return objectsOf(line).flatMap((object) => {
    const { map, set, element } = record(object) ?? {};
    const elements = record(map ?? set ?? element)?.elem;
    return Array.isArray(elements) ? elements.flatMap((each) => fromJson(each) ?? []) : [];
  });
}

/** `key`, `{elem: {val: key, counter}}`, or one of these and a value. */
function fromJson(element: unknown): MapElement | undefined {
  const [subject, value] = Array.isArray(element) ? element : [element, undefined];
  const elem = record(record(subject)?.elem);
  const key = keyText(elem === undefined ? subject : elem.val);
  if (key === undefined) return undefined;
  const counter = record(elem?.counter);
  const read: MapElement = { key, packets: numberOf(counter?.packets), bytes: numberOf(counter?.bytes) };
  const text = scalar(value);
  if (text !== undefined) read.value = text;
  return read;
}

function keyText(value: unknown): string | undefined {
  const parts = record(value)?.concat;
  if (!Array.isArray(parts)) return scalar(value);
  const texts = parts.map(scalar);
  return texts.includes(undefined) ? undefined : texts.join(' . ');
}

/** `1.2.3.4 . 5 . 6 counter packets 1 bytes 2 : 0x00000003`, separated by commas. */
function parseText(text: string): MapElement[] {
  return [...text.matchAll(/elements = \{([^}]*)\}/g)].flatMap(([, inside = '']) =>
    inside.split(',').flatMap((part) => {
      const match = /^\s*(\S+(?: \. \S+)*)(?: counter packets (\d+) bytes (\d+))?(?: : (\S+))?\s*$/.exec(part);
      if (match === null) return [];
      const [, key = '', packets = '0', bytes = '0', value] = match;
      const read: MapElement = { key: decimal(key), packets: Number(packets), bytes: Number(bytes) };
      if (value !== undefined) read.value = decimal(value);
      return [read];
    }),
  );
}

/** Marks are printed in hexadecimal as text, and in decimal in JSON. */
function decimal(text: string): string {
  return /^0x[0-9a-f]+$/.test(text) ? String(Number(text)) : text;
}

function record(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

function scalar(value: unknown): string | undefined {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
}

function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}

/** Returns the base chains in what nft printed; `devices` is absent where nft does not print them (before 1.0.7). */
export function parseChains(output: string): { table: string; chain: string; devices?: string[] }[] {
  return output
    .split('\n')
    .filter((line) => line.startsWith('{"nftables"'))
    .flatMap((line) => objectsOf(line))
    .flatMap((object) => {
      const { table, name: chain, dev } = record(record(object)?.chain) ?? {};
      if (typeof table !== 'string' || typeof chain !== 'string') return [];
      const devices = typeof dev === 'string' ? [dev] : Array.isArray(dev) ? dev.map(String) : undefined;
      return [{ table, chain, ...(devices && { devices }) }];
    });
}
