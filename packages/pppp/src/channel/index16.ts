/** Signed 16-bit difference `a - b` of two packet indices (spec §7.1): positive when `a` is the newer one. */
export function indexDistance(a: number, b: number): number {
  return ((a - b) << 16) >> 16;
}
