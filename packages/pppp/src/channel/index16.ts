/**
 * Signed 16-bit difference `a - b` of two packet indices (docs/protocol/pppp.md, "Data packets"): positive when `a` is
 * the newer one.
 */
export function indexDistance(a: number, b: number): number {
  return ((a - b) << 16) >> 16;
}
