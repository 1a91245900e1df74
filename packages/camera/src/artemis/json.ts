import { type Decoded, decoded, undecodable } from './result.ts';

/** A JSON object from the camera or a client; its fields are not validated. */
export type JsonObject = { readonly [field: string]: unknown };

/** Deeper than any message of a camera, and small enough for recursive functions. */
const MAX_DEPTH = 32;

/** Parses text that must be one JSON object, nested no deeper than 32 levels. */
export function parseJsonObject(text: string): Decoded<JsonObject> {
  if (depthOf(text) > MAX_DEPTH) {
    return undecodable('not-json', `The JSON text is nested deeper than ${MAX_DEPTH} levels.`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's message contains the input; its length is enough.
    return undecodable('not-json', `${text.length} characters are not JSON.`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return undecodable('not-json', 'The JSON text is not an object.');
  }
  return decoded(value as JsonObject);
}

/** Returns the nesting depth of brackets outside of strings. */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{}]/gs)) {
    if (token === '[' || token === '{') deepest = Math.max(deepest, ++depth);
    else if (token === ']' || token === '}') depth--;
  }
  return deepest;
}
