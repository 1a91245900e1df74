/** Keys of the stream cipher that are publicly known, by family (docs/protocol/pppp.md, "Network keys"). */
export const NetworkKey = {
  /** Towards CS2's own servers. */
  CS2: 'SSD@cs2-network.',
  CAMERA: 'camera',
  SHIX: 'SHIX',
  VSTARCAM_2018: 'vstarcam2018',
  VSTARCAM_2019: 'vstarcam2019',
} as const;

/** Order in which keys are tried; the first that gives a valid header is used. */
export const KNOWN_KEYS: readonly string[] = Object.values(NetworkKey);

/**
 * Returns the key of devices with this UID, or undefined for plaintext.
 * Unknown families use plaintext (docs/protocol/pppp.md, "Network keys").
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
