/** Why bytes or JSON from outside could not be decoded. */
export type WireProblem =
  /** fewer bytes than the format needs */
  | 'truncated'
  /** the fixed part (magic, base64 alphabet, block size) is not what the format says */
  | 'malformed'
  /** a length field is beyond the format's limit */
  | 'too-long'
  /** not JSON, or not an object */
  | 'not-json'
  /** JSON whose fields have other types than the format says */
  | 'unexpected-fields'
  /** a valid message that says that the camera could not do it */
  | 'refused';

/** What a decoder returns: network input never makes it throw. */
export type Decoded<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problem: WireProblem; readonly message: string };

export function decoded<T>(value: T): Decoded<T> {
  return { ok: true, value };
}

export function undecodable(problem: WireProblem, message: string): Decoded<never> {
  return { ok: false, problem, message };
}
