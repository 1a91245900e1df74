/** Why input could not be decoded. */
export type WireProblem =
  /** fewer bytes than the format needs */
  | 'truncated'
  /** the fixed part (magic, Base64 alphabet, block size) is wrong */
  | 'malformed'
  /** a length field exceeds the format's limit */
  | 'too-long'
  /** not JSON, or not an object */
  | 'not-json'
  /** JSON whose fields have the wrong types */
  | 'unexpected-fields'
  /** a valid message in which the camera reports a failure */
  | 'refused';

/** Result of a decoder; network input never makes it throw. */
export type Decoded<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problem: WireProblem; readonly message: string };

export function decoded<T>(value: T): Decoded<T> {
  return { ok: true, value };
}

export function undecodable(problem: WireProblem, message: string): Decoded<never> {
  return { ok: false, problem, message };
}
