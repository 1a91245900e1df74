import { type Decoded, decoded, undecodable } from './result.ts';

/** A JSON object as it came from the camera or from a client: nothing about its fields is known yet. */
export type JsonObject = { readonly [field: string]: unknown };

/** Parses text that must be one JSON object. */
export function parseJsonObject(text: string): Decoded<JsonObject> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's message repeats the input; the length says enough.
    return undecodable('not-json', `${text.length} characters are not JSON.`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return undecodable('not-json', 'The JSON text is not an object.');
  }
  return decoded(value as JsonObject);
}
