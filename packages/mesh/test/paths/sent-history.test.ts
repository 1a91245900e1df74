import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SentHistory } from '../../src/paths/sent-history.ts';

describe('what was sent on a path lately', () => {
  const rttMs = 20;

  /** Sent each 50 ms. */
  function talked(untilMs: number, sinceMs = 0): SentHistory {
    const history = new SentHistory();
    for (let at = sinceMs; at <= untilMs; at += 50) history.add(at, at);
    return history;
  }

  it('contradicts an end that has heard nothing of it for longer than it takes', () => {
    expect(talked(1_000).contradicts({ nowMs: 1_000, unheardMs: 250, rttMs })).toBe(true);
    expect(talked(10_000).contradicts({ nowMs: 10_000, unheardMs: 9_000, rttMs })).toBe(true);
  });

  it.each([
    ['nothing was sent in that time', talked(500), { nowMs: 1_000, unheardMs: 300, rttMs }],
    ['it may be on its way', talked(1_000, 800), { nowMs: 1_000, unheardMs: 300, rttMs: 200 }],
    ['it may have been heard before', talked(700), { nowMs: 1_000, unheardMs: 300, rttMs }],
    ['too little was sent', talked(0), { nowMs: 400, unheardMs: 500, rttMs }],
    ['nothing was ever sent', new SentHistory(), { nowMs: 400, unheardMs: 500, rttMs }],
  ])('does not when %s', (_, history, report) => {
    expect(history.contradicts(report)).toBe(false);
  });

  it('takes what a counter says only where all of its interval counts', () => {
    const history = new SentHistory();
    for (let at = 0; at < 1_000; at += 200) history.add(at, at + 200);
    expect(history.contradicts({ nowMs: 1_060, unheardMs: 280, rttMs })).toBe(true);
    expect(history.contradicts({ nowMs: 1_160, unheardMs: 280, rttMs })).toBe(false);
    expect(history.contradicts({ nowMs: 1_160, unheardMs: 480, rttMs })).toBe(true);
  });

  it('remembers a second of a fast transfer, and no more', () => {
    const history = new SentHistory();
    for (let at = 0; at < 60_000; at++) history.add(at, at);
    expect(history.contradicts({ nowMs: 60_000, unheardMs: 1_000, rttMs })).toBe(true);
    expect(history.contradicts({ nowMs: 120_000, unheardMs: 60_500, rttMs })).toBe(true);
    expect(history.contradicts({ nowMs: 130_000, unheardMs: 60_500, rttMs })).toBe(false);
  });

  it('keeps of what has arrived, or is lost, no more than tells the same', () => {
    const times = fc.array(
      fc.record({ afterMs: fc.integer({ min: 0, max: 4_000 }), tookMs: fc.constantFrom(0, 0, 100) }),
    );
    const report = fc.record({
      afterMs: fc.integer({ min: 0, max: 3_000 }),
      unheardMs: fc.integer({ min: 100, max: 20_000 }),
      rttMs: fc.integer({ min: 1, max: 4_900 }),
    });
    fc.assert(
      fc.property(times, report, (sends, { afterMs, unheardMs, rttMs: roundTripMs }) => {
        const history = new SentHistory();
        let nowMs = 0;
        const sent: [number, number][] = [];
        for (const each of sends) {
          const fromMs = nowMs + each.afterMs;
          nowMs = fromMs + each.tookMs;
          history.add(fromMs, nowMs);
          if (sent.length === 0 || fromMs - sent.at(-1)![0] >= 20) sent.push([fromMs, nowMs]);
        }
        nowMs += afterMs;
        const [sinceMs, untilMs] = [nowMs - roundTripMs - unheardMs + 40, nowMs - roundTripMs - 40];
        const counted = sent.filter(([fromMs, toMs]) => fromMs >= sinceMs && toMs <= untilMs);
        const isLost = counted.length >= 3 || counted.some(([fromMs, toMs]) => toMs - fromMs >= 60);
        // Of more than 64 in the time of a round trip it keeps the last ones.
        fc.pre(sent.filter(([, toMs]) => toMs >= nowMs - 8_000).length < 60);
        expect(history.contradicts({ nowMs, unheardMs, rttMs: roundTripMs })).toBe(isLost);
      }),
      { numRuns: 500 },
    );
  });

  it('keeps little of an idle path', () => {
    const history = new SentHistory();
    for (let at = 0; at < 10_000; at += 100) history.add(at, at);
    expect(history.size).toBe(54);
    for (let at = 10_000; at < 30_000; at += 2_000) history.add(at, at);
    expect(history.size).toBe(6);
    for (let at = 30_000; at < 3_600_000; at += 30_000) history.add(at, at);
    expect(history.size).toBe(3);
    history.add(3_600_000, 3_600_000);
    const report = { nowMs: 3_600_100, unheardMs: 61_000, rttMs };
    expect(history.contradicts(report)).toBe(true);
    expect(history.contradicts({ ...report, unheardMs: 59_000 })).toBe(false);
  });
});
