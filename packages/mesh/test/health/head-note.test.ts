import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeHeadNote, encodeHeadNote } from '../../src/health/head-note.ts';

describe('the end of the log in an echo', () => {
  it('comes back as it was', () => {
    const hash = fc.uint8Array({ minLength: 32, maxLength: 32 });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffff_ffff }), hash, (sequence, bytes) => {
        expect(decodeHeadNote(encodeHeadNote({ sequence, hash: bytes }))).toEqual({ sequence, hash: bytes });
      }),
    );
    expect(encodeHeadNote(undefined)).toHaveLength(0);
  });

  it('is read from any bytes without throwing', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const head = decodeHeadNote(bytes);
        if (head) expect(head.hash).toHaveLength(32);
      }),
    );
  });
});
