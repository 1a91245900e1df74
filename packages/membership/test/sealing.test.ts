import { SeededRandom } from '@towpath/core';
import { describe, expect, test } from 'vitest';
import {
  agree,
  formatInviteLink,
  generateWireGuardKey,
  isInviteCode,
  type Member,
  openAnnouncement,
  parseInviteLink,
  SignalChannel,
  signAnnouncement,
  signingKeyFromSeed,
  toHex,
  verifySignature,
  verifySignatureInPool,
  wireGuardKeyFromPrivate,
} from '../src/index.ts';
import { testNode } from './party-fixture.ts';

const random = new SeededRandom(11);
const hex = (text: string) => new Uint8Array(Buffer.from(text, 'hex'));
const PARTY = 'a'.repeat(32);

describe('keys', () => {
  test('are those of RFC 8032 §7.1 (test 2) and RFC 7748 §6.1', async () => {
    const key = signingKeyFromSeed(hex('4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb'));
    expect(toHex(key.publicKey)).toBe('3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c');
    const signature = key.sign(hex('72'));
    expect(toHex(signature)).toBe(
      '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
    );
    expect(verifySignature(key.publicKey, hex('72'), signature)).toBe(true);
    expect(await verifySignatureInPool(key.publicKey, hex('73'), signature)).toBe(false);
    expect(verifySignature(key.publicKey.subarray(1), hex('72'), signature)).toBe(false);
    expect(await verifySignatureInPool(key.publicKey, hex('72'), signature.subarray(1))).toBe(false);
    const alice = wireGuardKeyFromPrivate(hex('77076d0a7318a57d3c16c17251b26645b6e5c4ad44d5f5dbd8f8f9aea9a8f3ab'));
    const bob = wireGuardKeyFromPrivate(hex('5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb'));
    expect(toHex(bob.publicKey)).toBe('de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f');
    expect(agree(alice, bob.publicKey)).toEqual(agree(bob, alice.publicKey));
    expect(agree(bob, new Uint8Array(32))).toBeUndefined();
  });
});

describe('signals', () => {
  function pair() {
    const [a, b] = [generateWireGuardKey(random), generateWireGuardKey(random)];
    const ends = { party: PARTY, self: 'a', peer: 'b' };
    const atA = SignalChannel.between({ ...ends, own: a, theirs: b.publicKey })!;
    const atB = SignalChannel.between({ ...ends, self: 'b', peer: 'a', own: b, theirs: a.publicKey })!;
    return { atA, atB };
  }
  const signal = {
    timeMs: 1_000_000,
    head: { sequence: 7, hash: new Uint8Array(32).fill(9) },
    data: new Uint8Array([1, 2]),
  };

  test('are read by the one they are for, once, while they are fresh, and by nobody else', () => {
    const { atA, atB } = pair();
    const sealed = atA.seal(signal, random);
    expect(pair().atB.open(sealed, 1_000_000)).toBeUndefined();
    expect(atA.open(sealed, 1_000_000)).toBeUndefined();
    expect(atB.open(sealed, 1_000_000)).toEqual(signal);
    expect(atB.open(sealed, 1_000_000)).toBeUndefined();
    expect(atB.open(atA.seal(signal, random), 1_061_000)).toBeUndefined();
    expect(atB.open(atA.seal(signal, random), 939_000)).toBeUndefined();
    for (let at = 0; at < sealed.length; at++) {
      const altered = new Uint8Array(atA.seal(signal, random));
      altered[at]! ^= 1;
      expect(atB.open(altered, 1_000_000)).toBeUndefined();
    }
    for (let length = 0; length < sealed.length; length++) {
      expect(atB.open(sealed.subarray(0, length), 1_000_000)).toBeUndefined();
    }
    expect(atB.open(new Uint8Array(20_000), 1_000_000)).toBeUndefined();
  });

  test('of a peer that floods are dropped until its old ones have expired', () => {
    const { atA, atB } = pair();
    let taken = 0;
    for (let at = 0; at < 8_300; at++) if (atB.open(atA.seal(signal, random), 1_000_000)) taken++;
    expect(taken).toBe(8_192);
    const later = { ...signal, timeMs: 1_100_000 };
    expect(atB.open(atA.seal(later, random), 1_100_000)).toEqual(later);
  });

  test('to a key that is none cannot be made', () => {
    const own = generateWireGuardKey(random);
    const ends = { party: PARTY, self: 'a', peer: 'b', own };
    expect(SignalChannel.between({ ...ends, theirs: new Uint8Array(32) })).toBeUndefined();
  });
});

describe('announcements', () => {
  test('count only from the member that signed them, in the party that they are for', async () => {
    const node = testNode(21);
    const member = { id: node.id, nodeKey: node.signing.publicKey } as Member;
    const announcement = { timeMs: 5, head: { sequence: 3, hash: new Uint8Array(32) }, data: new Uint8Array([9]) };
    const bytes = signAnnouncement(announcement, { party: PARTY, peer: node.id, key: node.signing });
    expect(await openAnnouncement(bytes, { party: PARTY, member })).toEqual(announcement);
    expect(await openAnnouncement(bytes, { party: 'b'.repeat(32), member })).toBeUndefined();
    expect(await openAnnouncement(bytes, { party: PARTY, member: { ...member, id: 'c'.repeat(32) } })).toBeUndefined();
    for (let length = 0; length < bytes.length; length++) {
      expect(await openAnnouncement(bytes.subarray(0, length), { party: PARTY, member })).toBeUndefined();
    }
    expect(await openAnnouncement(new Uint8Array(5_000), { party: PARTY, member })).toBeUndefined();
  });
});

describe('invites', () => {
  const invite = {
    partyKey: random.bytes(32),
    secret: random.bytes(32),
    head: { sequence: 12, hash: random.bytes(32) },
    servers: ['https://one.example:4100', 'http://192.0.2.7:4100'],
  };

  test('survive as a link, and a part of a link is refused with a reason', () => {
    const link = formatInviteLink(invite);
    expect(link).toMatch(/^towpath:\/\/join\/[A-Za-z0-9_-]+$/);
    expect(link.length).toBeLessThan(260);
    expect(parseInviteLink(` ${link}\n`)).toEqual(invite);
    for (let length = 0; length < link.length; length++) {
      expect(() => parseInviteLink(link.slice(0, length))).toThrow(/copy the whole link/);
    }
    expect(() => parseInviteLink(`${link}AAAA`)).toThrow(/not an invite link/);
  });

  test('do not take more servers or longer names than a link can hold', () => {
    expect(() => formatInviteLink({ ...invite, servers: Array(9).fill('http://a') })).toThrow(/holds 8 addresses/);
    expect(() => formatInviteLink({ ...invite, servers: ['x'.repeat(201)] })).toThrow(/of 200 bytes/);
  });

  test('have codes that are told from anything else', () => {
    expect(isInviteCode('ABCD-EFGH-JKMN-PQRS')).toBe(true);
    expect(isInviteCode('abcd efgh jkmn pqrs')).toBe(true);
    expect(isInviteCode('ABCD-EFGH-JKMN')).toBe(false);
    expect(isInviteCode('towpath://join/x')).toBe(false);
    expect(isInviteCode('UUUU-EFGH-JKMN-PQRS')).toBe(false);
  });
});
