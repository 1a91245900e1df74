import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeNatPmp, encodeAddressRequest, encodeMapRequest } from '../src/nat-pmp.ts';
import { decodePcp, encodePcpMap } from '../src/pcp.ts';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const bytes = (text: string) => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'));

describe('NAT-PMP', () => {
  test('requests have the bytes of RFC 6886 §3.2 and §3.3', () => {
    expect(hex(encodeAddressRequest())).toBe('0000');
    const request = { protocol: 'udp', internalPort: 0x1234, suggestedExternalPort: 0x5678, lifetimeS: 7_200 } as const;
    expect(hex(encodeMapRequest(request))).toBe('0001000012345678' + '00001c20');
    expect(hex(encodeMapRequest({ ...request, protocol: 'tcp' })).slice(0, 4)).toBe('0002');
  });

  test('answers are read', () => {
    expect(decodeNatPmp(bytes('0080 0000 00000e10 cb007107'))).toEqual({
      type: 'external-address',
      result: 0,
      epochS: 3_600,
      address: '203.0.113.7',
    });
    expect(decodeNatPmp(bytes('0081 0000 00000e10 1234 5678 00001c20'))).toMatchObject({
      type: 'mapping',
      protocol: 'udp',
      internalPort: 0x1234,
      externalPort: 0x5678,
      lifetimeS: 7_200,
    });
    expect(decodeNatPmp(bytes('0080 0003 00000000'))).toMatchObject({ result: 3 });
  });
});

describe('PCP', () => {
  const nonce = bytes('000102030405060708090a0b');

  test('a MAP request has the bytes of RFC 6887 §7.1 and §11.1', () => {
    const request = encodePcpMap({
      protocol: 'udp',
      clientAddress: '192.168.1.20',
      nonce,
      internalPort: 41_000,
      suggestedExternalPort: 41_001,
      lifetimeS: 7_200,
    });
    expect(hex(request)).toBe(
      '0201000000001c20' +
        '00000000000000000000ffffc0a80114' +
        '000102030405060708090a0b' +
        '11000000' +
        'a028a029' +
        '00000000000000000000ffff00000000',
    );
  });

  test('answers are read, refusals too', () => {
    const granted = bytes(
      `02810000 00000e10 00000011 000000000000000000000000 ${hex(nonce)} 11000000 a028 c350 00000000000000000000ffffcb007107`,
    );
    expect(decodePcp(granted)).toEqual({
      type: 'mapping',
      lifetimeS: 3_600,
      epochS: 17,
      protocol: 'udp',
      nonce,
      internalPort: 41_000,
      externalPort: 50_000,
      externalAddress: '203.0.113.7',
    });
    expect(decodePcp(bytes('02810002 0000001e 00000011 000000000000000000000000'))).toMatchObject({
      type: 'refused',
      result: 2,
    });
  });

  test('what cannot be meant is refused when a request is made', () => {
    const request = { protocol: 'udp', internalPort: 1, suggestedExternalPort: 1, lifetimeS: 1 } as const;
    expect(() => encodePcpMap({ ...request, clientAddress: 'gateway', nonce })).toThrow(RangeError);
    expect(() => encodePcpMap({ ...request, clientAddress: '10.0.0.1', nonce: nonce.subarray(1) })).toThrow(RangeError);
  });
});

test('hostile bytes are failures and never exceptions', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.constantFrom(0, 2, undefined), (data, version) => {
      if (version !== undefined && data.length > 1) {
        data[0] = version;
        data[1] = (data[1] ?? 0) | 0x80;
      }
      for (const result of [decodeNatPmp(data), decodePcp(data)])
        expect('failure' in result || 'type' in result).toBe(true);
    }),
    { numRuns: 2_000 },
  );
});
