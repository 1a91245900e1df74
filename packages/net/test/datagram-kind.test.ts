import { expect, test } from 'vitest';
import { datagramKind } from '../src/index.ts';

function message(type: number, bytes: number, reserved = 0): Uint8Array {
  const data = new Uint8Array(bytes);
  data.set([type, 0, 0, reserved].slice(0, bytes));
  return data;
}

// The last message of a path's MTU is not padded: 32 + 1420 bytes are no multiple of 16.
test.each([
  [1, 148],
  [2, 92],
  [3, 64],
  [4, 32],
  [4, 48],
  [4, 1452],
])('a datagram of type %i and %i bytes is a message of WireGuard (C4)', (type, bytes) => {
  expect(datagramKind(message(type, bytes))).toBe('wireguard');
});

test.each([
  [0, 148],
  [1, 4],
  [1, 147],
  [1, 149],
  [2, 91],
  [2, 148],
  [3, 63],
  [3, 92],
  [4, 4],
  [4, 31],
  [5, 148],
])('a datagram of type %i and %i bytes is none (C4)', (type, bytes) => {
  expect(datagramKind(message(type, bytes))).not.toBe('wireguard');
});

test.each([1, 2, 3, 4])('a datagram of type %i with a reserved byte that is not zero is none (C4)', (type) => {
  const bytes = [0, 148, 92, 64, 32][type]!;
  expect(datagramKind(message(type, bytes, 1))).not.toBe('wireguard');
});
