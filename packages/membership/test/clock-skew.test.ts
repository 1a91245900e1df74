import { describe, expect, test } from 'vitest';
import { dateText } from '../src/party/clock-skew.ts';

describe('a date for people', () => {
  test.each([
    [Date.UTC(2076, 0, 31, 12, 0, 59), '2076-01-31 12:00 UTC'],
    [Date.UTC(9999, 11, 31, 23, 59), '9999-12-31 23:59 UTC'],
    [1e15, 'a date out of range'],
    [-1e15, 'a date out of range'],
    [1e300, 'a date out of range'],
    [Number.NaN, 'a date out of range'],
  ])('of %d is "%s"', (timeMs, text) => {
    expect(dateText(timeMs)).toBe(text);
  });
});
