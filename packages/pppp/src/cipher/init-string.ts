/** Content of a vendor's init string (docs/protocol/pppp.md, "Init string"). */
export interface InitString {
  /** Rendezvous servers, names or addresses. */
  hosts: string[];
  /** Key of the network's stream cipher; undefined for plaintext. */
  key: string | undefined;
}

/** Why a text is not an init string. */
export type InitStringFailure = 'odd-length' | 'bad-letter' | 'not-text' | 'too-long';

/** Longest accepted init string: the known ones have about a hundred letters. */
const MAX_INIT_LETTERS = 2048;

const TABLE: Uint8Array = Buffer.from(
  '4959433db5bf6da347534f6165e371e9677f02030badb3892b2f35c16b8b959711e5a70deff1050783fb9d3bc5c713171d1f2529d3df',
  'hex',
);

const A = 0x41;

/** Decodes an init string. */
export function decodeInitString(letters: string): InitString | InitStringFailure {
  if (letters.length > MAX_INIT_LETTERS) return 'too-long';
  if (letters.length % 2 !== 0) return 'odd-length';
  const bytes = new Uint8Array(letters.length / 2);
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) {
    const high = letters.charCodeAt(2 * i) - A;
    const low = letters.charCodeAt(2 * i + 1) - A;
    if (high < 0 || high > 15 || low < 0 || low > 15) return 'bad-letter';
    const byte = mask(i) ^ sum ^ ((high << 4) | low);
    if (byte < 0x20 || byte > 0x7e) return 'not-text';
    bytes[i] = byte;
    sum ^= byte;
  }
  const text = new TextDecoder().decode(bytes);
  const colon = text.indexOf(':');
  const hosts = (colon < 0 ? text : text.slice(0, colon)).split(',').filter((host) => host !== '');
  return { hosts, key: colon < 0 ? undefined : text.slice(colon + 1) };
}

/** Encodes an init string: every host followed by a comma, then the key after a colon. Hosts and key are ASCII. */
export function encodeInitString({ hosts, key }: InitString): string {
  const text = hosts.map((host) => `${host},`).join('') + (key === undefined ? '' : `:${key}`);
  let letters = '';
  let sum = 0;
  for (const [i, byte] of new TextEncoder().encode(text).entries()) {
    const value = mask(i) ^ sum ^ byte;
    letters += String.fromCharCode(A + (value >> 4), A + (value & 15));
    sum ^= byte;
  }
  return letters;
}

function mask(i: number): number {
  return 0x39 ^ TABLE[i % TABLE.length]!;
}
