import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { StreamCipher } from '../src/index.ts';
import { keyForUid } from '../src/cipher/known-keys.ts';
import { CipherSet, decodeInitString, encodeInitString, encodeMessage, NetworkKey } from '../src/codec/index.ts';

const bytes = (hex: string) => new Uint8Array(Buffer.from(hex, 'hex'));
const toHex = (data: Uint8Array) => Buffer.from(data).toString('hex');

describe('stream cipher', () => {
  test.each([
    [NetworkKey.CS2, 'b1a6bb9a'],
    [NetworkKey.CAMERA, '2cba5f5d'],
    [NetworkKey.SHIX, '9fa1eeb9'],
    [NetworkKey.VSTARCAM_2019, 'e43b4322'],
  ])('turns a search under the key %s into %s', (key, hex) => {
    expect(toHex(new StreamCipher(key).encipher(bytes('f1300000')))).toBe(hex);
  });

  test('gives the published long check vectors', () => {
    const counting = Uint8Array.from({ length: 20 }, (_, i) => i);
    expect(toHex(new StreamCipher(NetworkKey.CS2).encipher(counting))).toBe('4074e65f915739c9d94a15a4c0a5339f4219f314');
    const example = new StreamCipher('ExampleTransport').encipher(bytes('f1d00008d100000001020304'));
    expect(toHex(example)).toBe('dc747b57ebd4c7df6688c7db');
  });

  test('deciphers what it enciphered, in place as well, for any key', () => {
    fc.assert(
      fc.property(fc.string(), fc.uint8Array({ maxLength: 300 }), (key, clear) => {
        const cipher = new StreamCipher(key);
        const inPlace = clear.slice();
        cipher.encipher(inPlace, inPlace);
        expect(inPlace).toEqual(cipher.encipher(clear));
        cipher.decipher(inPlace, inPlace);
        expect(inPlace).toEqual(clear);
      }),
    );
  });
});

describe('detection of the cipher', () => {
  const set = new CipherSet();
  const search = encodeMessage({ type: 'LAN_SEARCH' });

  test.each(Object.values(NetworkKey))('recognises a datagram under the key %s and can answer in it', (key) => {
    const opened = set.open(new StreamCipher(key).encipher(search));
    expect(opened?.clear).toEqual(search);
    expect(opened?.cipher?.key).toBe(key);
  });

  test('takes plaintext for plaintext', () => {
    expect(set.open(search)).toEqual({ clear: search, cipher: undefined });
  });

  test('refuses a deciphered header of unknown type or with a length that does not fit', () => {
    const cipher = new StreamCipher(NetworkKey.CAMERA);
    const only = new CipherSet([NetworkKey.CAMERA]);
    expect(only.detect(cipher.encipher(bytes('f1050000')))).toBeUndefined();
    expect(only.detect(cipher.encipher(bytes('f1300001')))).toBeUndefined();
    expect(only.detect(bytes('2cba5f'))).toBeUndefined();
  });

  test('never throws on hostile bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (data) => {
        const opened = set.open(data);
        expect(opened === undefined || opened.clear.length === data.length).toBe(true);
      }),
    );
  });

  test.each([
    ['DGOA-000001-BCDEF', NetworkKey.CAMERA],
    ['DGB000001BCDEF', NetworkKey.CAMERA],
    ['PIXA-000001-BCDEF', NetworkKey.SHIX],
    ['VE-000001-BCDEF', NetworkKey.VSTARCAM_2018],
    ['LBCS-000000-CCCJJ', undefined],
    ['PPCS-000000-CCCJJ', undefined],
  ])('knows the key of %s', (uid, key) => {
    expect(keyForUid(uid)).toBe(key);
  });
});

describe('init string', () => {
  const LETTERS = 'EBGIEABAKIIMGMIMFJGBEMFLGNMFGHNBGNFLBEDJAAJPLDKHDFBPDHONHELI';
  const hosts = ['192.0.2.1', '192.0.2.2', '192.0.2.3'];

  test('reads and writes the published vector', () => {
    expect(decodeInitString(LETTERS)).toEqual({ hosts, key: undefined });
    expect(encodeInitString({ hosts, key: undefined })).toBe(LETTERS);
  });

  test('carries the network key after the hosts, through any length', () => {
    const long = { hosts: Array.from({ length: 20 }, (_, i) => `p2p${i}.example.org`), key: 'ExampleKey' };
    expect(decodeInitString(encodeInitString(long))).toEqual(long);
  });

  test.each([
    ['odd-length', 'ABC'],
    ['bad-letter', 'ab'],
    ['not-text', 'HA'],
    ['too-long', 'A'.repeat(2050)],
  ])('refuses what is none: %s', (failure, letters) => {
    expect(decodeInitString(letters)).toBe(failure);
  });
});
