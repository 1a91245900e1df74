import { isMap, isNode, isScalar, type Document, type LineCounter } from 'yaml';
import type { z } from 'zod';

/** Where a value stands: the line of the file, or the option or variable that it came from. */
export type PlaceOf = (path: readonly PropertyKey[]) => string | undefined;

/** Longest value that is repeated in a message. */
const MAX_SHOWN = 60;
/** Settings whose values are secrets. */
const SECRET = new Set(['key', 'url']);

/** Describes what is wrong in sentences: where, which setting, and what is accepted. */
export function describeIssue(issue: z.core.$ZodIssue, placeOf: PlaceOf): string[] {
  const { path } = issue;
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const all = [...path, key];
      return `${where(all, placeOf)} is not a setting; ${issue.message}`;
    });
  }
  if (issue.code === 'invalid_union') {
    const inner = closest(issue.errors);
    if (inner !== undefined) {
      return inner.flatMap((each) => describeIssue({ ...each, path: [...path, ...each.path] }, placeOf));
    }
  }
  const message = issue.code === 'invalid_key' ? issue.issues[0]?.message : issue.message;
  return [`${where(path, placeOf)}: ${message ?? issue.message}${found(issue)}`];
}

/** Of the forms that a value could have, the one that fits furthest; undefined when none fits at all. */
function closest(branches: readonly (readonly z.core.$ZodIssue[])[]): readonly z.core.$ZodIssue[] | undefined {
  const depth = (issues: readonly z.core.$ZodIssue[]) => Math.max(...issues.map(({ path }) => path.length));
  return branches.filter((issues) => depth(issues) > 0).toSorted((a, b) => depth(b) - depth(a))[0];
}

/** Names a setting with its place. */
export function where(path: readonly PropertyKey[], placeOf: PlaceOf): string {
  const place = placeOf(path);
  const name = path.length === 0 ? 'the file' : path.map(String).join('.');
  return place === undefined ? name : `${place}, ${name}`;
}

function found({ input, path }: z.core.$ZodIssue): string {
  if (SECRET.has(String(path.at(-1)))) return '';
  if (typeof input !== 'string' && typeof input !== 'number' && typeof input !== 'boolean') return '';
  const text = JSON.stringify(input);
  return text.length > MAX_SHOWN ? '' : `, not ${text}`;
}

/** Puts faults in the order of the file; those from elsewhere come last. */
export function inFileOrder(faults: readonly string[]): string[] {
  const line = (fault: string) => Number(/^line (\d+), /.exec(fault)?.[1] ?? Number.POSITIVE_INFINITY);
  // Two without a line would differ by NaN.
  return faults.toSorted((a, b) => (line(a) === line(b) ? 0 : line(a) - line(b)));
}

/**
 * The line of a setting in the file, or of the group that lacks it; undefined when the file has neither. A group that is
 * written as one value, such as a URL, has the line of the value.
 */
export function lineOf(document: Document, lines: LineCounter, path: readonly PropertyKey[]): string | undefined {
  const last = path.at(-1);
  const parent = document.getIn(path.slice(0, -1), true);
  const pair = isMap(parent)
    ? parent.items.find(({ key }) => (isScalar(key) ? String(key.value) : String(key)) === String(last))
    : undefined;
  if (path.length > 1 && pair === undefined && (isMap(parent) || isScalar(parent))) {
    return lineOf(document, lines, path.slice(0, -1));
  }
  const node = pair === undefined ? document.getIn(path, true) : pair.key;
  const offset = isNode(node) ? node.range?.[0] : undefined;
  return offset === undefined ? undefined : `line ${lines.linePos(offset).line}`;
}
