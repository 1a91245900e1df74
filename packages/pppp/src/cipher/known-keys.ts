/** Keys of the stream cipher that are publicly known, by family (spec/pppp §8.1). */
export const NetworkKey = {
  /** Towards CS2's own servers. */
  CS2: 'SSD@cs2-network.',
  CAMERA: 'camera',
  SHIX: 'SHIX',
  VSTARCAM_2018: 'vstarcam2018',
  VSTARCAM_2019: 'vstarcam2019',
} as const;

/** In this order a datagram is tried; the first that gives a valid header wins. */
export const KNOWN_KEYS: readonly string[] = Object.values(NetworkKey);

/**
 * The key that devices with this UID use among themselves and their clients, or undefined for plaintext.
 * Only families that the spec names are known; others are taken for plaintext (spec/pppp §8.1).
 * @param uid text form, with or without dashes
 */
export function keyForUid(uid: string): string | undefined {
  const prefix = /^[A-Za-z]+/.exec(uid)?.[0].toUpperCase() ?? '';
  for (const [key, pattern] of KEYS_BY_PREFIX) if (pattern.test(prefix)) return key;
  return undefined;
}

const KEYS_BY_PREFIX: readonly (readonly [key: string, prefix: RegExp])[] = [
  [NetworkKey.CAMERA, /^(DGB|DGO.?|DGK.?|PETA|NMS.?)$/],
  [NetworkKey.SHIX, /^(PIX.?|AAA|DDD|FFF|XIAODOU)$/],
  [NetworkKey.VSTARCAM_2018, /^VE$/],
];
