import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CodecError, parseUid } from '../src/index.ts';
import {
  decodeMessage,
  decodeUid,
  drwAckCount,
  drwAckIndex,
  drwChannel,
  drwData,
  drwDataBytes,
  drwIndex,
  encodeMessage,
  encodeTcpFrame,
  encodeUid,
  MAX_TCP_BODY_BYTES,
  peekType,
  TcpDeframer,
  writeDrwAck,
  writeDrwHeader,
} from '../src/codec/index.ts';
import { ipv4ToNumber } from '../src/codec/socket-address.ts';
import { tcpCheck } from '../src/codec/tcp-frame.ts';

const bytes = (hex: string) => new Uint8Array(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
const toHex = (data: Uint8Array) => Buffer.from(data).toString('hex');

describe('UID', () => {
  test('has the bytes that the document gives as its example', () => {
    const document = readFileSync(new URL('../../../docs/protocol/pppp.md', import.meta.url), 'utf8');
    const example = /`([A-Z0-9-]+)` is `([0-9a-f ]+)`/.exec(document)!;
    expect(toHex(encodeUid(example[1]!))).toBe(example[2]!.replaceAll(' ', ''));
  });

  test('has twenty bytes on the wire', () => {
    expect(toHex(encodeUid('LBCS-000000-CCCJJ'))).toBe('4c42435300000000000000004343434a4a000000');
    expect(decodeUid(bytes('4c42435300000000000000004343434a4a000000'))).toBe('LBCS-000000-CCCJJ');
  });

  test.each([
    ['LBCS000000CCCJJ', 'LBCS-000000-CCCJJ'],
    [' abc-12-defgh ', 'ABC-000012-DEFGH'],
    ['VSTB4294967295ABCDE', 'VSTB-4294967295-ABCDE'],
  ])('is taken as a person writes it: %s', (text, uid) => {
    expect(parseUid(text)).toBe(uid);
    expect(decodeUid(encodeUid(uid))).toBe(uid);
  });

  test.each(['', 'LBCS', 'LBCS-1', 'TOOLONGPREFIX-1-ABC', 'ABCD-4294967296-ABCDE', 'AB/D-1-ABC'])(
    'refuses %j with a message that says what is expected',
    (text) => {
      expect(() => parseUid(text)).toThrow(CodecError);
      expect(() => parseUid(text)).toThrow(/PREFIX-000001-CHECK/);
    },
  );

  test('is compared on its trimmed fields: what follows a NUL does not count', () => {
    const dirty = encodeUid('LBCS-000000-CCCJJ');
    dirty[6] = 0x58;
    dirty[19] = 0xff;
    expect(decodeUid(dirty)).toBe('LBCS-000000-CCCJJ');
  });

  test('may be followed by an API version or stray zeros', () => {
    const punch = bytes(`f1410018 ${toHex(encodeUid('LBCS-000000-CCCJJ'))} 04000000`);
    expect(decodeMessage(punch)).toEqual({ type: 'PUNCH_PKT', uid: 'LBCS-000000-CCCJJ' });
  });

  test('that is no text is a bad field', () => {
    const code = 0x41;
    expect(decodeMessage(bytes(`f1410014${'00'.repeat(20)}`))).toEqual({
      type: 'malformed',
      reason: 'bad-field',
      code,
    });
    expect(decodeMessage(bytes(`f1410014${'ff'.repeat(20)}`))).toEqual({
      type: 'malformed',
      reason: 'bad-field',
      code,
    });
  });
});

describe('socket address', () => {
  const request = (address: string) =>
    decodeMessage(bytes(`f1200024${toHex(encodeUid('TEST-000001-BCDEF'))}${address}`));

  test('of family 0 has a big-endian port and is understood', () => {
    expect(request('0000a0280000000000000000 00000000')).toMatchObject({ local: { address: '0.0.0.0', port: 41000 } });
  });

  test('of an unknown family is no reason to refuse a request', () => {
    expect(request('000a28a03201a8c0 0000000000000000')).toMatchObject({ type: 'P2P_REQ', local: undefined });
  });

  test('can be absent', () => {
    expect(request('00'.repeat(16))).toMatchObject({ type: 'P2P_REQ', local: undefined });
  });

  test('carries IPv4 only', () => {
    expect(() => encodeMessage({ type: 'PUNCH_TO', address: { address: '2001:db8::1', port: 1 } })).toThrow(CodecError);
  });

  test.each([
    ['192.0.2.1', 0xc0000201],
    ['::ffff:10.0.0.255', 0x0a0000ff],
    ['256.0.0.1', undefined],
    ['1.2.3', undefined],
    ['1.2.3.4.5', undefined],
    ['1..2.3', undefined],
    ['', undefined],
  ])('%j as a number is %s', (text, value) => {
    expect(ipv4ToNumber(text)).toBe(value);
  });
});

describe('dialects', () => {
  test('0xD2 as the magic of a sub-header is understood', () => {
    expect(decodeMessage(bytes('f1d10006d20300010009'))).toEqual({ type: 'DRW_ACK', channel: 3, indices: [9] });
    expect(drwAckCount(bytes('f1d10006d20300010009'))).toBe(1);
  });

  test('keep-alives with a payload and a search with two stray bytes are understood', () => {
    expect(decodeMessage(bytes('f1e0000400000000'))).toEqual({ type: 'ALIVE' });
    expect(decodeMessage(bytes('f13000020000'))).toEqual({ type: 'LAN_SEARCH' });
  });

  test('an empty 0x43 is understood', () => {
    expect(decodeMessage(bytes('f1430000'))).toEqual({ type: 'P2P_RDY_ACK', uid: undefined, address: undefined });
  });

  test('a login under the undocumented cipher is a bad field, not a login', () => {
    expect(decodeMessage(bytes(`f1160044${'5a'.repeat(68)}`))).toMatchObject({
      type: 'malformed',
      reason: 'bad-field',
    });
  });

  test('types without a public name are unknown, with their code', () => {
    expect(decodeMessage(bytes('f1f40002beef'))).toEqual({ type: 'unknown', code: 0xf4, payload: bytes('beef') });
  });
});

describe('session packets', () => {
  test('are written and read in place', () => {
    const packet = new Uint8Array(8 + 3);
    writeDrwHeader(packet, 0, 0, 3);
    packet.set(bytes('41434b'), 8);
    expect(toHex(packet)).toBe('f1d00007d100000041434b');
    expect([drwDataBytes(packet), drwChannel(packet), drwIndex(packet)]).toEqual([3, 0, 0]);
    expect(drwData(packet)).toEqual(bytes('41434b'));
    expect(drwData(packet).buffer).toBe(packet.buffer);
  });

  test('acknowledge seventeen indices in the 42 bytes of the capture', () => {
    const indices = Uint16Array.from({ length: 17 }, (_, i) => i);
    const target = new Uint8Array(64);
    const size = writeDrwAck(target, 4, indices, 17);
    expect(toHex(target.subarray(0, size))).toBe(
      'f1d10026d10400110000000100020003000400050006000700080009000a000b000c000d000e000f0010',
    );
    expect(drwAckCount(target.subarray(0, size))).toBe(17);
    expect(drwAckIndex(target, 16)).toBe(16);
  });

  test.each([
    ['an acknowledgement that claims 83 indices and has one', 'f1d10006d10000530001'],
    ['an acknowledgement of channel 8', 'f1d10006d10800010001'],
    ['a DRW of channel 8', 'f1d00005d108000041'],
    ['a DRW without data', 'f1d00004d1000000'],
    ['a DRW with a foreign sub-header', 'f1d00005aa00000041'],
    ['a DRW of 1025 bytes', `f1d00405d1000000${'00'.repeat(1025)}`],
  ])('%s is malformed, for the fast functions as well', (_name, hex) => {
    const datagram = bytes(hex);
    expect(decodeMessage(datagram).type).toBe('malformed');
    expect(datagram[1] === 0xd0 ? drwDataBytes(datagram) : drwAckCount(datagram)).toBe(-1);
  });

  test('fast functions and decoder agree on any bytes', () => {
    const datagrams = fc
      .tuple(fc.constantFrom(0xd0, 0xd1), fc.constantFrom(0xd1, 0xd2, 0), fc.nat(9), fc.uint8Array({ maxLength: 30 }))
      .map(([code, magic, channel, rest]) =>
        Uint8Array.from([0xf1, code, 0, rest.length + 2, magic, channel, ...rest]),
      );
    fc.assert(
      fc.property(datagrams, (datagram) => {
        const result = decodeMessage(datagram);
        const type = peekType(datagram);
        const count = type === 0xd1 ? drwAckCount(datagram) : -1;
        const size = type === 0xd0 ? drwDataBytes(datagram) : -1;
        if (result.type === 'DRW') expect(drwData(datagram)).toEqual(result.data);
        if (result.type === 'DRW_ACK') expect(count).toBe(result.indices.length);
        if (result.type === 'malformed') expect([count, size]).toEqual([-1, -1]);
      }),
    );
  });

  test('have a type that can be peeked at', () => {
    expect(peekType(bytes('f1e00000'))).toBe(0xe0);
    expect(peekType(bytes('f1e00001'))).toBe(-1);
    expect(peekType(bytes('2cba5f5d'))).toBe(-1);
    expect(peekType(bytes('f1'))).toBe(-1);
  });

  test('that cannot be sent are refused with the limit', () => {
    expect(() => encodeMessage({ type: 'DRW', channel: 0, index: 0, data: new Uint8Array(1025) })).toThrow(/1024/);
    expect(() => encodeMessage({ type: 'DRW', channel: 8, index: 0, data: new Uint8Array(1) })).toThrow(/0 to 7/);
    expect(() => encodeMessage({ type: 'DRW_ACK', channel: 0, indices: new Array(513).fill(0) })).toThrow(/512/);
  });
});

describe('TCP frames', () => {
  test('have the check bytes of the two public frames', () => {
    expect(tcpCheck(bytes('7c5897f9'))).toBe(0x673d);
    expect(tcpCheck(bytes('8f32c284'))).toBe(0xfe15);
  });

  test('of the two public captures decipher to the same body', () => {
    const bodies: string[] = [];
    const deframer = new TcpDeframer();
    deframer.push(bytes('0004 6800 7351 673d 7c5897f9 0004 6800 67c6 fe15 8f32c284'), (body) => {
      bodies.push(toHex(body));
    });
    expect(bodies).toEqual(['16786db9', '16786db9']);
  });

  test('in the clear have zeros for nonce and check', () => {
    expect(toHex(encodeTcpFrame(bytes('f1e00000')))).toBe('0004680000000000f1e00000');
  });

  test('arrive whole however the stream is cut', () => {
    const messages = fc.array(
      fc.tuple(fc.uint8Array({ maxLength: 60 }), fc.option(fc.integer({ min: 1, max: 0xffff }))),
      {
        maxLength: 12,
      },
    );
    fc.assert(
      fc.property(messages, fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (sent, cuts) => {
        const stream = Buffer.concat(sent.map(([body, nonce]) => encodeTcpFrame(body, nonce ?? undefined)));
        const got: Uint8Array[] = [];
        const deframer = new TcpDeframer();
        for (let at = 0, i = 0; at < stream.length; i++) {
          const size = cuts[i % cuts.length]!;
          deframer.push(new Uint8Array(stream.subarray(at, at + size)), (body) => got.push(body.slice()));
          at += size;
        }
        expect(got).toEqual(sent.map(([body]) => body));
      }),
    );
  });

  test.each([
    ['bad-marker', '0004 6900 0000 0000 f1e00000'],
    ['too-large', 'ffff 6800 0000 0000'],
    ['bad-check', '0004 6800 7351 673e 7c5897f9'],
  ])('end the stream with %s', (failure, hex) => {
    const deframer = new TcpDeframer();
    const got: Uint8Array[] = [];
    expect(deframer.push(bytes(hex), (body) => got.push(body))).toBe(failure);
    expect(deframer.push(encodeTcpFrame(bytes('f1e00000')), (body) => got.push(body))).toBe(failure);
    expect(got).toEqual([]);
  });

  test('are limited in size on the sending side too', () => {
    expect(() => encodeTcpFrame(new Uint8Array(MAX_TCP_BODY_BYTES + 1))).toThrow(CodecError);
  });
});
