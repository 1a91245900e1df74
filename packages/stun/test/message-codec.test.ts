import { canonicalAddress } from '@towpath/net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Attribute } from '../src/message/attribute.ts';
import * as attr from '../src/message/attributes.ts';
import { encodeChannelData } from '../src/message/channel-data.ts';
import { classOf, HEADER_BYTES, MessageClass, messageType, methodOf } from '../src/message/header.ts';
import { shortTermKey } from '../src/message/integrity.ts';
import { StreamFramer } from '../src/message/stream-framer.ts';
import { decodeStun, MAX_ATTRIBUTES, type StunMessage } from '../src/message/stun-message.ts';
import { StunWriter } from '../src/message/stun-writer.ts';

const RUNS = 200 * Number(process.env.TOWPATH_FUZZ ?? 1);
const transactionId = new Uint8Array(12).map((_, at) => at + 1);

const uint32 = fc.integer({ min: 0, max: 0xffffffff });
const address = fc.oneof(
  fc.ipV4(),
  fc.ipV6().map((text) => canonicalAddress(text)!),
);
const endpoint = fc.record({ address, port: fc.integer({ min: 0, max: 65535 }) });
const family = fc.constantFrom(4 as const, 6 as const);
const shortText = fc.string({ unit: 'grapheme', maxLength: 20 });
const errorNumber = fc.integer({ min: 300, max: 699 });
const algorithms = fc.array(
  fc.record({ algorithm: fc.integer({ min: 0, max: 0xffff }), parameters: fc.uint8Array({ maxLength: 9 }) }),
  { maxLength: 3 },
);

function value<T>(attribute: Attribute<T>, arbitrary: fc.Arbitrary<T>) {
  return arbitrary.map((one) => ({ attribute: attribute as Attribute<unknown>, value: one as unknown }));
}

const anyAttribute = fc.oneof(
  ...[attr.mappedAddress, attr.xorMappedAddress, attr.alternateServer, attr.responseOrigin, attr.otherAddress].map(
    (one) => value(one, endpoint),
  ),
  ...[attr.xorPeerAddress, attr.xorRelayedAddress].map((one) => value(one, endpoint)),
  ...[attr.username, attr.realm, attr.nonce, attr.software, attr.alternateDomain].map((one) => value(one, shortText)),
  ...[attr.priority, attr.lifetime, attr.cacheTimeout, attr.connectionId].map((one) => value(one, uint32)),
  ...[attr.iceControlled, attr.iceControlling].map((one) => value(one, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }))),
  ...[attr.useCandidate, attr.dontFragment].map((one) => value(one, fc.constant(true as const))),
  ...[attr.responsePort, attr.channelNumber].map((one) => value(one, fc.integer({ min: 0, max: 0xffff }))),
  ...[attr.requestedAddressFamily, attr.additionalAddressFamily].map((one) => value(one, family)),
  ...[attr.passwordAlgorithm, attr.passwordAlgorithms].map((one) => value(one, algorithms)),
  value(attr.requestedTransport, fc.integer({ min: 0, max: 255 })),
  value(attr.errorCode, fc.record({ code: errorNumber, reason: shortText })),
  value(attr.addressErrorCode, fc.record({ family, code: errorNumber, reason: shortText })),
  value(attr.unknownAttributes, fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 5 })),
  value(attr.changeRequest, fc.record({ address: fc.boolean(), port: fc.boolean() })),
  value(attr.icmp, fc.record({ type: fc.nat(127), code: fc.nat(511), data: uint32 })),
  value(attr.evenPort, fc.boolean()),
  value(attr.data, fc.uint8Array({ maxLength: 50 })),
  value(attr.padding, fc.uint8Array({ maxLength: 50 })),
  value(attr.reservationToken, fc.uint8Array({ minLength: 8, maxLength: 8 })),
  value(attr.userhash, fc.uint8Array({ minLength: 32, maxLength: 32 })),
);

function decoded(bytes: Uint8Array): StunMessage {
  const result = decodeStun(bytes);
  if (!result.ok) throw new Error(result.failure);
  return result.message;
}

/** Buffers and Uint8Arrays of the same bytes count as equal. */
function plain(one: unknown): unknown {
  if (one instanceof Uint8Array) return Array.from(one);
  if (Array.isArray(one)) return one.map(plain);
  if (one !== null && typeof one === 'object') {
    return Object.fromEntries(Object.entries(one).map(([name, inner]) => [name, plain(inner)]));
  }
  return one;
}

describe('the STUN codec', () => {
  test('reads back every attribute that it writes, with and without integrity and fingerprint', () => {
    const key = shortTermKey('a secret');
    fc.assert(
      fc.property(
        fc.uniqueArray(anyAttribute, { maxLength: 12, selector: (one) => one.attribute.type }),
        fc.constantFrom(undefined, 'sha1' as const, 'sha256' as const),
        fc.boolean(),
        fc.integer({ min: 0, max: 0xfff }),
        fc.constantFrom(...Object.values(MessageClass)),
        (entries, algorithm, fingerprint, method, messageClass) => {
          const writer = new StunWriter(messageClass, method, transactionId);
          for (const one of entries) writer.add(one.attribute, one.value);
          if (algorithm !== undefined) writer.integrity(key, algorithm);
          if (fingerprint) writer.fingerprint();
          const message = decoded(writer.finish());
          expect(message.method).toBe(method);
          expect(message.class).toBe(messageClass);
          for (const one of entries) expect(plain(message.get(one.attribute))).toEqual(plain(one.value));
          expect(message.checkIntegrity(key)).toBe(algorithm === undefined ? 'absent' : 'valid');
        },
      ),
      { numRuns: RUNS },
    );
  });

  test('never throws on mutated messages, and reads every attribute of those it accepts', () => {
    const base = new StunWriter(MessageClass.Success, 3, transactionId)
      .add(attr.xorMappedAddress, { address: '192.0.2.9', port: 7 })
      .add(attr.errorCode, { code: 401, reason: 'who?' })
      .add(attr.passwordAlgorithms, [{ algorithm: 2, parameters: new Uint8Array(3) }])
      .add(attr.unknownAttributes, [1, 2])
      .add(attr.username, 'grüße')
      .finish();
    const all = Object.values(attr).filter((one) => typeof one === 'object') as Attribute<unknown>[];
    const mutation = fc.record({ at: fc.nat(base.length - 1), to: fc.nat(255) });
    fc.assert(
      fc.property(fc.array(mutation, { maxLength: 8 }), fc.nat(base.length), (mutations, cut) => {
        const bytes = base.slice(0, cut < 30 ? base.length - (cut & ~3) : base.length);
        for (const { at, to } of mutations) if (at < bytes.length) bytes[at] = to;
        const result = decodeStun(bytes);
        if (result.ok) for (const one of all) result.message.all(one);
        expect(result.ok || typeof result.failure === 'string').toBe(true);
      }),
      { numRuns: 5 * RUNS },
    );
  });

  test('never throws on arbitrary bytes behind a valid header', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (body) => {
        const bytes = new StunWriter(MessageClass.Request, 1, transactionId).finish().slice();
        const whole = Buffer.concat([bytes.subarray(0, HEADER_BYTES), body]);
        whole.writeUInt16BE(body.length, 2);
        expect(['boolean']).toContain(typeof decodeStun(whole).ok);
      }),
      { numRuns: 5 * RUNS },
    );
  });

  test('names what is wrong with bytes that are no message', () => {
    const good = new StunWriter(MessageClass.Request, 1, transactionId).add(attr.priority, 5).fingerprint().finish();
    const failure = (bytes: Uint8Array) => {
      const result = decodeStun(bytes);
      return result.ok ? 'none' : result.failure;
    };
    expect(failure(good)).toBe('none');
    expect(failure(good.subarray(0, 19))).toBe('not-stun');
    expect(failure(good.subarray(0, good.length - 4))).toBe('not-stun');
    const odd = Buffer.concat([good.subarray(0, 20), Buffer.alloc(3)]);
    odd.writeUInt16BE(3, 2);
    expect(failure(odd)).toBe('bad-length');
    const long = Buffer.from(good);
    long.writeUInt16BE(60, 22);
    expect(failure(long)).toBe('truncated-attribute');
    const wrong = Buffer.from(good);
    wrong[27]! ^= 1;
    expect(failure(wrong)).toBe('bad-fingerprint');
  });

  test('accepts as many attributes as its limit and not one more', () => {
    const writer = new StunWriter(MessageClass.Request, 1, transactionId);
    for (let count = 0; count < MAX_ATTRIBUTES; count++) writer.add(attr.priority, count);
    const full = writer.finish().slice();
    expect(decoded(full).types()).toHaveLength(MAX_ATTRIBUTES);
    expect(decodeStun(writer.add(attr.priority, 0).finish())).toEqual({ ok: false, failure: 'too-many-attributes' });
  });

  test('does not see attributes that somebody appended behind the integrity', () => {
    const key = shortTermKey('x');
    const bytes = new StunWriter(MessageClass.Request, 1, transactionId)
      .add(attr.priority, 1)
      .integrity(key)
      .add(attr.username, 'mallory')
      .finish();
    const message = decoded(bytes);
    expect(message.checkIntegrity(key)).toBe('valid');
    expect(message.has(attr.username)).toBe(false);
  });

  test('lists comprehension-required attributes that the reader does not know', () => {
    const bytes = new StunWriter(MessageClass.Request, 1, transactionId)
      .add(attr.priority, 1)
      .add(attr.software, 'x')
      .add(attr.useCandidate, true)
      .finish();
    expect(decoded(bytes).unknownRequired(new Set([attr.priority.type]))).toEqual([attr.useCandidate.type]);
  });

  test('weaves class and method into the type and back', () => {
    for (let method = 0; method <= 0xfff; method++) {
      for (const messageClass of Object.values(MessageClass)) {
        const type = messageType(messageClass, method);
        expect(type).toBeLessThan(0x4000);
        expect([methodOf(type), classOf(type)]).toEqual([method, messageClass]);
      }
    }
  });
});

describe('framing on a stream', () => {
  const binding = new StunWriter(MessageClass.Request, 1, transactionId).add(attr.username, 'me').finish();
  const frames = [binding, encodeChannelData(0x4001, Buffer.from('hello'), false), binding];
  const wire = Buffer.concat([binding, encodeChannelData(0x4001, Buffer.from('hello'), true), binding]);

  test('yields the same frames however the stream is cut', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(wire.length), { maxLength: 12 }), (cuts) => {
        const seen: Buffer[] = [];
        const framer = new StreamFramer((frame) => seen.push(Buffer.from(frame)));
        let from = 0;
        for (const cut of [...cuts.sort((a, b) => a - b), wire.length]) {
          expect(framer.push(wire.subarray(from, cut))).toBe(true);
          from = cut;
        }
        expect(seen).toEqual(frames.map((frame) => Buffer.from(frame)));
      }),
      { numRuns: RUNS },
    );
  });

  test('yields the frames one byte at a time', () => {
    const seen: Buffer[] = [];
    const framer = new StreamFramer((frame) => seen.push(Buffer.from(frame)));
    for (const byte of wire) framer.push(Uint8Array.of(byte));
    expect(seen).toEqual(frames.map((frame) => Buffer.from(frame)));
  });

  test('refuses a stream of something else, whole or byte by byte', () => {
    const framer = new StreamFramer(() => {});
    expect(framer.push(Buffer.from('\u00ffnot STUN at all', 'latin1'))).toBe(false);
    const slow = new StreamFramer(() => {});
    const verdicts = [...Buffer.from('\u00ffnot STUN at all', 'latin1')].map((byte) => slow.push(Uint8Array.of(byte)));
    expect(verdicts).toContain(false);
  });

  test('keeps what follows the frame at which it was stopped', () => {
    const framer = new StreamFramer(() => framer.stop());
    framer.push(Buffer.concat([binding, Buffer.from('raw')]));
    framer.push(Buffer.from(' data'));
    expect(Buffer.from(framer.rest()).toString()).toBe('raw data');
  });
});
