import type { Io } from './io.ts';

/** Version of what commands print with `--json`: within it fields are only added. docs/json.md */
const JSON_VERSION = 1;

/**
 * One line of output with `--json`. What a camera or server calls `type` or `version` does not replace these.
 * @param replacer as `JSON.stringify` takes it.
 */
export function jsonLine(
  type: string,
  fields: object = {},
  replacer?: (key: string, value: unknown) => unknown,
): string {
  const { type: _type, version: _version, ...rest } = fields as Record<string, unknown>;
  return JSON.stringify({ type, version: JSON_VERSION, ...rest }, replacer);
}

/** Prints one object of `--json`. */
export function printJson(io: Pick<Io, 'out'>, type: string, fields: object = {}): void {
  io.out(jsonLine(type, fields));
}
