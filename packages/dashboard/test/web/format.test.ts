import { describe, expect, test } from 'vitest';
import { safeFileName } from '../../src/web/lib/file-name.ts';
import {
  formatAgo,
  formatBytes,
  formatDuration,
  formatMs,
  formatRatio,
  formatTime,
  formatTimeSeconds,
  formatUntil,
  plural,
} from '../../src/web/lib/format.ts';

/** Numbers and units are joined by a space on which no line breaks. */
const plain = (text: string): string => text.replaceAll('\u00a0', ' ');
const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

describe('how the page writes numbers and times (C13)', () => {
  test.each([
    [0, '0 B'],
    [999, '999 B'],
    [1_000, '1.0 kB'],
    [99_400, '99.4 kB'],
    [99_960, '100 kB'],
    [999_600, '1.0 MB'],
    [4_300_000_000, '4.3 GB'],
    [7.2e15, '7200 TB'],
    [undefined, '–'],
    [Number.NaN, '–'],
    [-1, '–'],
  ])('bytes: %s is %s', (bytes, text) => {
    expect(plain(formatBytes(bytes))).toBe(text);
  });

  test.each([
    [0.4, '0.4 ms'],
    [9.96, '10 ms'],
    [312.4, '312 ms'],
    [999.7, '1.0 s'],
    [59_940, '59.9 s'],
    [61_000, '1 min'],
    [undefined, '–'],
  ])('latency: %s is %s', (ms, text) => {
    expect(plain(formatMs(ms))).toBe(text);
  });

  test.each([
    [-5, '0 s'],
    [59_999, '59 s'],
    [3 * HOUR, '3 h'],
    [3 * HOUR + 5 * MINUTE, '3 h 5 min'],
    [2 * DAY + 4 * HOUR + 59 * MINUTE, '2 d 4 h'],
  ])('duration: %s is %s', (ms, text) => {
    expect(plain(formatDuration(ms))).toBe(text);
  });

  test('what was, and what will be', () => {
    const now = Date.parse('2026-05-14T16:42:00Z');
    expect(formatAgo(now + 5 * SECOND, now)).toBe('just now');
    expect(plain(formatAgo(now - 12 * MINUTE, now))).toBe('12 min ago');
    expect(plain(formatAgo(now - 47 * HOUR, now))).toBe('47 h ago');
    expect(plain(formatAgo(now - 3 * DAY, now))).toBe('3 d ago');
    expect(formatUntil(now, now)).toBe('expired');
    expect(formatUntil(now + 30 * SECOND, now)).toBe('in less than a minute');
    expect(plain(formatUntil(now + 90 * MINUTE, now))).toBe('in 1 h');
    expect(plain(formatUntil(now + 5 * DAY, now))).toBe('in 5 d');
  });

  test('times of day are of the given zone', () => {
    const at = Date.parse('2026-05-14T16:42:07Z');
    expect(formatTime(at, 'Europe/Berlin')).toBe('18:42');
    expect(formatTimeSeconds(at, 'UTC')).toBe('16:42:07');
  });

  test('shares and counts', () => {
    expect([0, 0.004, 0.12, 1].map((ratio) => plain(formatRatio(ratio)))).toEqual(['0 %', '0.4 %', '12 %', '100 %']);
    expect([plural(1, 'peer'), plural(3, 'peer'), plural(0, 'day')].map(plain)).toEqual([
      '1 peer',
      '3 peers',
      '0 days',
    ]);
  });
});

describe('names of saved files', () => {
  test.each([
    ['feeder_20260514T181700_100_0318.jpg', 'feeder_20260514T181700_100_0318.jpg'],
    ['../../etc/passwd', '_.._etc_passwd'],
    ['C:\\evil.exe', 'C__evil.exe'],
    ['a\u202egpj.exe', 'a_gpj.exe'],
    ['line\nbreak\u0000.jpg', 'line_break_.jpg'],
    ['  .hidden.jpg . ', 'hidden.jpg'],
    ['CON.jpg', '_CON.jpg'],
    ['///', 'download'],
    ['', 'download'],
  ])('%j becomes %j', (text, name) => {
    expect(safeFileName(text)).toBe(name);
  });

  test('a long name keeps its extension', () => {
    expect(safeFileName(`${'x'.repeat(500)}.mp4`)).toMatch(/^x{116}\.mp4$/);
  });
});
