import { describe, expect, it } from 'vitest';
import { ReplayCache } from '../src/checks/replay-cache.ts';

const peer = { address: '198.51.100.7', port: 40_000 };
const other = { address: '198.51.100.7', port: 40_001 };

/** A request whose transaction id differs from the others in four of its bytes. */
function request(number: number, at = 8) {
  const transactionId = new Uint8Array(12);
  new DataView(transactionId.buffer).setUint32(at, number);
  return { transactionId };
}

describe('requests that came before', () => {
  it('are told apart by where they come from', () => {
    const cache = new ReplayCache();
    expect(cache.classify(request(1), peer)).toBe('fresh');
    expect(cache.classify(request(1), { ...peer })).toBe('repeated');
    expect(cache.classify(request(1), other)).toBe('copied');
    expect(cache.classify(request(1), { ...peer, address: '203.0.113.7' })).toBe('copied');
    expect(cache.classify(request(2), other)).toBe('fresh');
  });

  it('are known whatever their transaction id is, zero as well', () => {
    const cache = new ReplayCache();
    expect(cache.classify(request(7), peer)).toBe('fresh');
    expect(cache.classify(request(0), peer)).toBe('fresh');
    expect(cache.classify(request(0), other)).toBe('copied');
    expect(cache.classify(request(0xffff_ffff), other)).toBe('fresh');
    expect(cache.classify(request(0xffff_ffff), peer)).toBe('copied');
  });

  it.each([0, 4, 8])('are told apart by each byte of their transaction id (bytes from %i on)', (at) => {
    const cache = new ReplayCache();
    for (let number = 1; number <= 500; number++) expect(cache.classify(request(number, at), peer)).toBe('fresh');
    for (let number = 1; number <= 500; number++) expect(cache.classify(request(number, at), other)).toBe('copied');
  });

  it('are the last 512, at whatever number the memory has grown', () => {
    const cache = new ReplayCache();
    for (let number = 0; number < 3_000; number++) {
      expect(cache.classify(request(number), peer)).toBe('fresh');
      expect(cache.size).toBe(Math.min(512, number + 1));
      const oldest = Math.max(0, number - 511);
      expect(cache.classify(request(oldest), other)).toBe('copied');
      expect(cache.classify(request(number), other)).toBe('copied');
    }
    for (let number = 2_488; number < 3_000; number++) expect(cache.classify(request(number), other)).toBe('copied');
  });

  it('keep their source when each comes from another one', () => {
    const cache = new ReplayCache();
    const from = (number: number) => ({ address: `10.0.${number >> 8}.${number & 0xff}`, port: 1_000 + (number % 7) });
    for (let number = 0; number < 2_000; number++) {
      expect(cache.classify(request(number), from(number))).toBe('fresh');
    }
    for (let number = 1_488; number < 2_000; number++) {
      expect(cache.classify(request(number), from(number))).toBe('repeated');
      expect(cache.classify(request(number), from(number + 1))).toBe('copied');
    }
  });
});
