import { VirtualClock } from '@towpath/core/testing';
import { describe, expect, test } from 'vitest';
import { nextTimeOfDay, visitSchedule } from '../src/outputs/visit-times.ts';

const iso = (ms: number) => new Date(ms).toISOString().slice(0, 16);
const next = (at: number[], from: string, zone: string) => iso(nextTimeOfDay(at, Date.parse(from), zone));

describe('times of the day for visits (B10)', () => {
  test.each([
    [[390, 1_080], '2026-05-01T00:00:00Z', '2026-05-01T04:30'],
    [[390, 1_080], '2026-05-01T04:30:00Z', '2026-05-01T16:00'],
    [[1_080, 390], '2026-05-01T20:00:00Z', '2026-05-02T04:30'],
    [[0], '2026-05-01T21:59:59Z', '2026-05-01T22:00'],
    // Clocks are put forward at 02:00 and back at 03:00, local time.
    [[390], '2026-03-28T12:00:00Z', '2026-03-29T04:30'],
    [[150], '2026-03-28T12:00:00Z', '2026-03-29T01:30'],
    [[390], '2026-10-24T12:00:00Z', '2026-10-25T05:30'],
  ])('%j after %s is %s in Berlin', (at, from, expected) => {
    expect(next(at, from, 'Europe/Berlin')).toBe(expected);
  });

  test('the zone may be a fixed offset', () => {
    expect(next([390], '2026-05-01T00:00:00Z', '-05:00')).toBe('2026-05-01T11:30');
  });

  test('a clock that is set shortens or ends the wait', () => {
    const clock = new VirtualClock(Date.UTC(2026, 4, 1, 12));
    let jumpMs = 0;
    const set = { now: () => clock.now(), wallTime: () => clock.wallTime() + jumpMs };
    const schedule = visitSchedule(set, { at: [18 * 60], timeZone: '+00:00' });
    expect(schedule.leftMs()).toBe(6 * 3_600_000);
    // Back by nine hours: today's visit is yet to come, and no later one.
    jumpMs = -9 * 3_600_000;
    expect(schedule.leftMs()).toBe(15 * 3_600_000);
    jumpMs = 400 * 86_400_000;
    expect(schedule.leftMs()).toBeLessThanOrEqual(0);
    schedule.advance();
    expect(schedule.leftMs()).toBe(6 * 3_600_000);
  });

  test('an interval keeps its grid after a visit that took longer, and begins later when it was told to', () => {
    const clock = new VirtualClock();
    let now = 0;
    const schedule = visitSchedule(
      { now: () => now, wallTime: () => clock.wallTime() },
      { everyMs: 100, firstInMs: 30 },
    );
    expect(schedule.leftMs()).toBe(30);
    now = 31;
    schedule.advance();
    expect(schedule.leftMs()).toBe(99);
    now = 375;
    schedule.advance();
    expect(schedule.leftMs()).toBe(55);
  });
});
