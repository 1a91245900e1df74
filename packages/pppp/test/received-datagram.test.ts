import { describe, expect, test } from 'vitest';
import { ReceivedDatagram } from '../src/client/received-datagram.ts';
import { encodeMessage } from '../src/codec/index.ts';
import { StreamCipher } from '../src/index.ts';

const FROM = { address: '192.168.43.1', port: 40_611 };

class CountingCipher extends StreamCipher {
  static deciphered = 0;

  override decipher(cipher: Uint8Array, target?: Uint8Array): Uint8Array {
    CountingCipher.deciphered++;
    return super.decipher(cipher, target);
  }
}

describe('a datagram at the socket of several attempts', () => {
  test('is decoded once in each cipher that the attempts use', () => {
    const [one, same, other] = ['camera', 'camera', 'SHIX'].map((key) => new CountingCipher(key));
    const datagram = new ReceivedDatagram(one!.encipher(encodeMessage({ type: 'ALIVE' })), FROM);
    const message = datagram.message(one);
    expect(message).toEqual({ type: 'ALIVE' });
    for (const cipher of [one, same]) expect(datagram.message(cipher)).toBe(message);
    expect(datagram.message(other).type).toBe('malformed');
    expect(datagram.message(undefined).type).toBe('malformed');
    expect(datagram.message(undefined)).toBe(datagram.message(undefined));
    expect(CountingCipher.deciphered).toBe(2);
  });
});
