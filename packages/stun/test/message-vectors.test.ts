import { describe, expect, test } from 'vitest';
import type { Attribute } from '../src/message/attribute.ts';
import * as attributes from '../src/message/attributes.ts';
import { MessageClass, Method } from '../src/message/header.ts';
import { longTermKey, PasswordAlgorithm, shortTermKey, userhashOf } from '../src/message/integrity.ts';
import { decodeStun, type StunMessage } from '../src/message/stun-message.ts';
import { StunWriter } from '../src/message/stun-writer.ts';

const hex = (text: string) => new Uint8Array(Buffer.from(text.replace(/\s/g, ''), 'hex'));

const FINGERPRINT_BYTES = 8;
const shortKey = shortTermKey('VOkJxbRl1RmTxUk/WvJxBt');
const transaction = hex('b7e7a701bc34d686fa87dfae');
const longTransaction = hex('78ad3433c6ad72c029da412e');

// RFC 5769 §2.1: values are padded with spaces.
const request = hex(`000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff
  80290008932ff9b151263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2
  80280004e57a3bcf`);
// RFC 5769 §2.2
const response4 = hex(`0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643
  000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96`);
// RFC 5769 §2.3
const response6 = hex(`010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a1470113a9fa
  a5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c`);
// RFC 5769 §2.4
const longTerm = hex(`000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383aae38383e382afe382b9000000
  15001c662f2f3439396b39353464364f4c33346f4c394653547679363473410014000b6578616d706c652e6f726700
  00080014f67024656dd64a3e02b8e0712e85c9a28ca89666`);
// RFC 8489 appendix B.1 with erratum 6268
const sha256 = hex(`000100902112a44278ad3433c6ad72c029da412e
  001e00204a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704
  001500296f624d61744a6f733241414143662f2f3439396b39353464364f4c33346f4c39465354767936347341000000
  0014000b6578616d706c652e6f726700001d000400020000
  001c0020b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65`);

function decoded(bytes: Uint8Array): StunMessage {
  const result = decodeStun(bytes);
  if (!result.ok) throw new Error(result.failure);
  return result.message;
}

describe('the published test vectors', () => {
  test('the sample request of RFC 5769 §2.1 is read and checked', () => {
    const message = decoded(request);
    expect(message.class).toBe(MessageClass.Request);
    expect(message.method).toBe(Method.Binding);
    expect(message.transactionId).toEqual(transaction);
    expect(message.get(attributes.software)).toBe('STUN test client');
    expect(message.get(attributes.priority)).toBe(0x6e0001ff);
    expect(message.get(attributes.iceControlled)).toBe(0x932ff9b151263b36n);
    expect(message.get(attributes.username)).toBe('evtj:h6vY');
    expect(message.checkIntegrity(shortKey)).toBe('valid');
    expect(message.checkIntegrity(shortTermKey('wrong'))).toBe('invalid');
  });

  test('the sample request of RFC 5769 §2.1 is written byte for byte', () => {
    const written = new StunWriter(MessageClass.Request, Method.Binding, transaction, 0x20)
      .add(attributes.software, 'STUN test client')
      .add(attributes.priority, 0x6e0001ff)
      .add(attributes.iceControlled, 0x932ff9b151263b36n)
      .add(attributes.username, 'evtj:h6vY')
      .integrity(shortKey)
      .fingerprint()
      .finish();
    expect(Buffer.from(written).toString('hex')).toBe(Buffer.from(request).toString('hex'));
  });

  test.each([
    ['IPv4', '§2.2', response4, '192.0.2.1'],
    ['IPv6', '§2.3', response6, '2001:db8:1234:5678:11:2233:4455:6677'],
  ])(
    'the sample %s response of RFC 5769 %s is read, checked and written byte for byte',
    (_family, _section, bytes, address) => {
      const message = decoded(bytes);
      expect(message.class).toBe(MessageClass.Success);
      expect(message.get(attributes.xorMappedAddress)).toEqual({ address, port: 32853 });
      expect(message.checkIntegrity(shortKey)).toBe('valid');
      const written = new StunWriter(MessageClass.Success, Method.Binding, transaction, 0x20)
        .add(attributes.software, 'test vector')
        .add(attributes.xorMappedAddress, { address, port: 32853 })
        .integrity(shortKey)
        .fingerprint()
        .finish();
      expect(Buffer.from(written).toString('hex')).toBe(Buffer.from(bytes).toString('hex'));
    },
  );

  test('the long-term request of RFC 5769 §2.4 is read, checked and written byte for byte', () => {
    const key = longTermKey(
      'マトリックス',
      'example.org',
      'The\u00adM\u00aatr\u2168'.normalize('NFKC').replace('\u00ad', ''),
    );
    const message = decoded(longTerm);
    expect(message.get(attributes.username)).toBe('マトリックス');
    expect(message.get(attributes.nonce)).toBe('f//499k954d6OL34oL9FSTvy64sA');
    expect(message.get(attributes.realm)).toBe('example.org');
    expect(message.checkIntegrity(key)).toBe('valid');
    const written = new StunWriter(MessageClass.Request, Method.Binding, longTransaction)
      .add(attributes.username, 'マトリックス')
      .add(attributes.nonce, 'f//499k954d6OL34oL9FSTvy64sA')
      .add(attributes.realm, 'example.org')
      .integrity(key)
      .finish();
    expect(Buffer.from(written).toString('hex')).toBe(Buffer.from(longTerm).toString('hex'));
  });

  test('the SHA-256 request of RFC 8489 B.1 is read, checked and written byte for byte', () => {
    const key = longTermKey('マトリックス', 'example.org', 'TheMatrIX', PasswordAlgorithm.Sha256);
    const hashOfUser = userhashOf('マトリックス', 'example.org');
    const message = decoded(sha256);
    expect(Buffer.from(message.get(attributes.userhash)!)).toEqual(Buffer.from(hashOfUser));
    expect(message.get(attributes.passwordAlgorithm)).toEqual([{ algorithm: 2, parameters: new Uint8Array(0) }]);
    expect(message.checkIntegrity(key)).toBe('valid');
    const written = new StunWriter(MessageClass.Request, Method.Binding, longTransaction)
      .add(attributes.userhash, hashOfUser)
      .add(attributes.nonce, 'obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA')
      .add(attributes.realm, 'example.org')
      .add(attributes.passwordAlgorithm, [{ algorithm: 2, parameters: new Uint8Array(0) }])
      .integrity(key, 'sha256')
      .finish();
    expect(Buffer.from(written).toString('hex')).toBe(Buffer.from(sha256).toString('hex'));
  });

  test('every single flipped bit up to the end of the integrity is noticed', () => {
    for (let bit = 0; bit < (request.length - FINGERPRINT_BYTES) * 8; bit++) {
      const damaged = request.slice();
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      const result = decodeStun(damaged);
      const accepted = result.ok && result.message.checkIntegrity(shortKey) === 'valid';
      expect(accepted, `bit ${bit}`).toBe(false);
    }
  });
});

// Only the types are of interest here: a registry entry must not use a number twice.
test('no attribute type is registered twice', () => {
  const all = Object.values(attributes).filter((value): value is Attribute<never> => typeof value === 'object');
  expect(new Set(all.map(({ type }) => type)).size).toBe(all.length);
});
