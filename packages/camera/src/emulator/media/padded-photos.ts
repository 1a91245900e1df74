/** Longest content of a JPEG segment: its 16-bit length counts itself. */
const MAX_SEGMENT_BYTES = 0xffff - 2;
const COMMENT_MARKER = 0xfe;

/**
 * Returns a valid JPEG of exactly `sizeBytes`: `jpeg` with comment segments after its start marker that begin with
 * `label` and are filled with a pattern from `seed`. For measurements without the cost of a JPEG encoder.
 * Returns `jpeg` itself when it is already too large for a comment.
 */
export function padJpeg(jpeg: Uint8Array, sizeBytes: number, seed: number, label: string): Uint8Array {
  let missing = sizeBytes - jpeg.length;
  if (missing < 4) return jpeg;
  const out = new Uint8Array(sizeBytes);
  out.set(jpeg.subarray(0, 2));
  let at = 2;
  while (missing > 0) {
    // A rest of one to three bytes could not hold a marker and a length.
    let content = Math.min(missing - 4, MAX_SEGMENT_BYTES);
    const rest = missing - 4 - content;
    if (rest > 0 && rest < 4) content -= 4;
    out[at] = 0xff;
    out[at + 1] = COMMENT_MARKER;
    out[at + 2] = (content + 2) >> 8;
    out[at + 3] = (content + 2) & 0xff;
    fill(out.subarray(at + 4, at + 4 + content), seed);
    if (at === 2) out.set(new TextEncoder().encode(label).subarray(0, content), at + 4);
    at += 4 + content;
    missing -= 4 + content;
  }
  out.set(jpeg.subarray(2), at);
  return out;
}

function fill(target: Uint8Array, seed: number): void {
  let state = seed | 1;
  for (let at = 0; at < target.length; at++) {
    state = Math.imul(state, 1664525) + 1013904223;
    target[at] = state >>> 24;
  }
}
