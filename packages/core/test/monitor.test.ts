import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { initialMonitor, type MonitorEvent, stepMonitor } from '../src/paths/monitor.ts';
import { Monitor, type MonitorOptions, type MonitorState, SeededRandom } from '../src/index.ts';
import { VirtualClock } from '../src/testing.ts';

/** Runs the machine as its driver does: ticks when it asks for them. */
function run(state: MonitorState, untilMs: number, answer: (probeId: number, atMs: number) => number | undefined) {
  const probes: number[] = [];
  const health: [number, string][] = [];
  const answers: { probeId: number; atMs: number; sentAtMs: number }[] = [];
  let now = state.lastHeardAtMs;
  let wakeAtMs: number | undefined = now;
  let current = state;
  const step = (event: MonitorEvent) => {
    const { state: next, effects } = stepMonitor(current, event);
    current = next;
    wakeAtMs = undefined;
    for (const effect of effects) {
      if (effect.type === 'wake') wakeAtMs = effect.atMs;
      else if (effect.type === 'health') health.push([now, effect.health]);
      else {
        probes.push(now);
        const rttMs = answer(effect.probeId, now);
        if (rttMs !== undefined) answers.push({ probeId: effect.probeId, atMs: now + rttMs, sentAtMs: now });
      }
    }
  };
  for (;;) {
    answers.sort((a, b) => a.atMs - b.atMs);
    const next = answers[0];
    const atMs = Math.min(next?.atMs ?? Number.POSITIVE_INFINITY, wakeAtMs ?? Number.POSITIVE_INFINITY);
    if (atMs > untilMs) return { state: current, probes, health, step };
    now = atMs;
    if (next?.atMs === atMs) {
      answers.shift();
      step({ type: 'answered', probeId: next.probeId, rttMs: atMs - next.sentAtMs, atMs });
    } else step({ type: 'tick', atMs });
  }
}

describe('suspicion machine', () => {
  test('a path in use is probed each second at first, then every 3 s', () => {
    const { probes, health, state } = run(initialMonitor(0, 'current', 20), 14_000, () => 20);
    expect(probes).toEqual([0, 1_000, 2_000, 3_000, 4_000, 5_000, 8_000, 11_000, 14_000]);
    expect(health).toEqual([]);
    expect(state.rttMs).toBeCloseTo(20);
  });

  test('three probes missed make it suspect, two more dead, each within three round trips (D4)', () => {
    const { probes, health } = run(initialMonitor(0, 'current', 50), 60_000, () => undefined);
    expect(probes).toEqual([0, 150, 300, 450, 600]);
    expect(health).toEqual([
      [450, 'suspect'],
      [750, 'dead'],
    ]);
  });

  test.each([
    [30_000, 'dead', [30_000, 31_000]],
    [Number.POSITIVE_INFINITY, 'good', [60_000, 60_000]],
  ] as const)(
    'a path on which data arrives and no probe is answered, with consent for %d ms, is %s (RFC 7675 §5.1)',
    async (consentMs, health, [least, most]) => {
      const clock = new VirtualClock();
      let endedAtMs = 60_000;
      const startedAtMs = clock.now();
      const monitor = new Monitor(
        { clock },
        {
          probe: (signal) => clock.sleep(1e9, signal).then(() => undefined),
          onHealth: (is) => {
            if (is === 'dead') endedAtMs = clock.now() - startedAtMs;
          },
          handshakeRttMs: 20,
          times: { consentMs },
        },
      );
      for (let at = 0; at < 60_000; at += 20) {
        await clock.advance(20);
        monitor.heard();
      }
      expect(monitor.state.health).toBe(health);
      expect(endedAtMs).toBeGreaterThanOrEqual(least);
      expect(endedAtMs).toBeLessThanOrEqual(most);
      monitor.stop();
    },
  );

  test('the interval of an idle path may be learnt while it is watched', async () => {
    const clock = new VirtualClock();
    const probesAtMs: number[] = [];
    let idleIntervalMs = 20_000;
    const times = {
      get idleIntervalMs() {
        return idleIntervalMs;
      },
    };
    const probe = async () => {
      probesAtMs.push(clock.now());
      return 20;
    };
    const monitor = new Monitor({ clock }, { probe, onHealth: () => {}, handshakeRttMs: 20, times });
    await clock.advance(200_000);
    idleIntervalMs = 12_000;
    await clock.advance(200_000);
    monitor.stop();
    const gapsMs = probesAtMs.map((at, index) => at - (probesAtMs[index - 1] ?? at));
    expect([gapsMs.filter((gap) => gap === 20_000).length > 5, gapsMs.slice(-10)]).toEqual([
      true,
      Array(10).fill(12_000),
    ]);
  });

  test.each([
    { rttMs: undefined, limitMs: 1_000 },
    { rttMs: 1, limitMs: 100 },
    { rttMs: 200, limitMs: 600 },
    { rttMs: 2_000, limitMs: 1_000 },
  ])('a probe is awaited for $limitMs ms when the round trip is $rttMs ms', ({ rttMs, limitMs }) => {
    expect(run(initialMonitor(0, 'current', rttMs), 60_000, () => undefined).health).toEqual([
      [3 * limitMs, 'suspect'],
      [5 * limitMs, 'dead'],
    ]);
  });

  test('an answer ends the suspicion, also a late one', () => {
    const { health } = run(initialMonitor(0, 'current', 50), 5_000, (id) => (id === 1 ? 500 : id > 3 ? 50 : undefined));
    expect(health).toEqual([
      [450, 'suspect'],
      [500, 'good'],
    ]);
  });

  test('a standby is probed every 15 s, an idle path every 30 s', () => {
    expect(run(initialMonitor(0, 'standby', 20), 46_000, () => 20).probes).toEqual([0, 15_000, 30_000, 45_000]);
    const { probes } = run(initialMonitor(0, 'current', 20), 140_000, () => 20);
    expect(probes.filter((atMs) => atMs > 45_000)).toEqual([47_000, 77_000, 107_000, 137_000]);
  });

  test('when it may be needed, a standby is asked again although an old question is still awaited, and only once', () => {
    const silent = run(initialMonitor(0, 'standby'), 2_000, () => undefined);
    expect(silent.probes).toEqual([0]);
    const wake = (atMs: number) => silent.step({ type: 'wake', atMs });
    wake(2_000);
    expect(silent.probes).toHaveLength(2);
    for (let atMs = 2_010; atMs < 2_900; atMs += 10) wake(atMs);
    expect(silent.probes).toHaveLength(2);
    wake(3_000);
    expect(silent.probes).toHaveLength(3);
  });

  test('a round trip that was measured under load does not count once a standby answers in less than half the time', () => {
    const after = (untilMs: number, ...roundTrips: number[]) =>
      run(initialMonitor(0, 'standby', 60), untilMs, () => roundTrips.shift()).state;
    // Probed at 0 and 15 s.
    expect(after(10_000, 52).rttMs).toBeCloseTo((7 * 60 + 52) / 8);
    expect(after(16_000, 52, 1)).toMatchObject({ rttMs: 1, rttVariationMs: 0.5 });
    // What varies by itself is smoothed.
    expect(after(16_000, 52, 40).rttMs).toBeCloseTo(((7 * 60 + 52) / 8 + 40) / 2);
    // So is what follows soon.
    const soon = run(initialMonitor(0, 'current', 60), 2_500, (_, atMs) => (atMs === 0 ? 52 : 1)).state;
    expect(soon.rttMs).toBeGreaterThan(30);
  });

  test('data without an answer is followed by a probe after 250 ms', () => {
    const calm = run(initialMonitor(0, 'current', 20), 9_000, () => 20).state;
    const { state } = stepMonitor(calm, { type: 'sent', data: true, atMs: 9_100 });
    expect(stepMonitor(state, { type: 'tick', atMs: 9_349 }).effects).toEqual([{ type: 'wake', atMs: 9_350 }]);
    expect(stepMonitor(state, { type: 'tick', atMs: 9_350 }).effects).toContainEqual({ type: 'probe', probeId: 8 });
    const heard = stepMonitor(state, { type: 'heard', data: true, atMs: 9_300 }).state;
    expect(stepMonitor(heard, { type: 'tick', atMs: 9_350 }).effects).not.toContainEqual({ type: 'probe', probeId: 8 });
  });

  test('a path that was not heard for 6.5 s is stale, and good again when it is heard', () => {
    const idle = run(initialMonitor(0, 'standby', 20), 10_000, () => 20);
    expect(idle.health).toEqual([[6_520, 'stale']]);
    expect(stepMonitor(idle.state, { type: 'heard', data: false, atMs: 10_000 }).state.health).toBe('good');
  });

  test('a probe that cannot be sent is missed, and the next one waits until its answer would have been due', () => {
    let { state } = stepMonitor(initialMonitor(0, 'current', 50), { type: 'tick', atMs: 0 });
    ({ state } = stepMonitor(state, { type: 'failed', probeId: 1, atMs: 1 }));
    expect(state).toMatchObject({ missed: 1, health: 'good' });
    expect(stepMonitor(state, { type: 'tick', atMs: 149 }).effects).toEqual([{ type: 'wake', atMs: 150 }]);
    expect(stepMonitor(state, { type: 'tick', atMs: 150 }).effects[0]).toEqual({ type: 'probe', probeId: 2 });
  });

  test('a lost probe of a path that is heard counts as loss and not as silence', () => {
    let { state } = stepMonitor(initialMonitor(0, 'current', 50), { type: 'tick', atMs: 0 });
    for (let atMs = 10; atMs < 3_000; atMs += 10) {
      ({ state } = stepMonitor(state, { type: 'heard', data: true, atMs }));
      ({ state } = stepMonitor(state, { type: 'tick', atMs }));
    }
    expect(state).toMatchObject({ health: 'good', missed: 0 });
    expect(state.lossRatio).toBeGreaterThan(0.1);
  });

  test('where packets are lost anyway, more missed probes in a row are awaited before anything follows', () => {
    const die = (lossRatio: number) =>
      run({ ...initialMonitor(0, 'current', 50), lossRatio }, 60_000, () => undefined).health.map(
        ([atMs]) => atMs / 150,
      );
    expect(die(0)).toEqual([3, 5]);
    expect(die(0.1)).toEqual([3, 5]);
    expect(die(0.3)).toEqual([3, 8]);
    expect(die(0.5)).toEqual([5, 14]);
    expect(die(1)).toEqual([6, 19]);
  });

  test('the doubt of the remote end makes it suspect at once, and the answer to the next probe good', () => {
    const calm = run(initialMonitor(0, 'current', 20), 9_000, () => 20).state;
    const { state, effects } = stepMonitor(calm, { type: 'doubt', atMs: 9_100 });
    expect(effects).toContainEqual({ type: 'health', health: 'suspect' });
    expect(effects).toContainEqual({ type: 'probe', probeId: state.probeId });
    const answered = stepMonitor(state, { type: 'answered', probeId: state.probeId, rttMs: 20, atMs: 9_120 });
    expect(answered.state).toMatchObject({ health: 'good', missed: 0, missedSinceMs: undefined });
    expect(stepMonitor(state, { type: 'tick', atMs: 9_300 }).state).toMatchObject({ health: 'suspect', missed: 4 });
  });

  test('dead is final, and asks for nothing any more', () => {
    const { state } = run(initialMonitor(0, 'current', 50), 60_000, () => undefined);
    const events: MonitorEvent[] = [
      { type: 'tick', atMs: 70_000 },
      { type: 'heard', data: true, atMs: 70_000 },
      { type: 'sent', data: true, atMs: 70_000 },
      { type: 'wake', atMs: 70_000 },
    ];
    for (const event of events) expect(stepMonitor(state, event)).toEqual({ state, effects: [] });
  });

  test('whatever happens, it asks to be woken in the future or at once, and never awaits two probes', () => {
    const event = fc.oneof(
      fc.record({ type: fc.constantFrom('tick', 'wake'), by: fc.nat(2_000) }),
      fc.record({ type: fc.constantFrom('heard', 'sent'), data: fc.boolean(), by: fc.nat(2_000) }),
      fc.record({ type: fc.constant('answered'), probeId: fc.nat(9), rttMs: fc.nat(900), by: fc.nat(2_000) }),
      fc.record({ type: fc.constant('failed'), probeId: fc.nat(9), by: fc.nat(2_000) }),
      fc.record({
        type: fc.constant('role'),
        role: fc.constantFrom('current', 'standby', 'draining'),
        by: fc.nat(2_000),
      }),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        let state = initialMonitor(0, 'current');
        let atMs = 0;
        for (const { by, ...rest } of events) {
          atMs += by;
          const { state: next, effects } = stepMonitor(state, { ...rest, atMs } as MonitorEvent);
          expect(next.probeId - state.probeId).toBe(effects.filter(({ type }) => type === 'probe').length);
          expect(next.probeId - state.probeId).toBeLessThanOrEqual(1);
          for (const effect of effects) if (effect.type === 'wake') expect(effect.atMs).toBeGreaterThanOrEqual(atMs);
          expect(next.lossRatio).toBeGreaterThanOrEqual(0);
          expect(next.lossRatio).toBeLessThanOrEqual(1);
          state = next;
        }
      }),
    );
  });
});

describe('monitor', () => {
  function world(options: Partial<MonitorOptions> = {}) {
    const clock = new VirtualClock();
    const health: [number, string][] = [];
    const link = { up: true, probes: 0, open: 0 };
    const monitor = new Monitor(
      { clock },
      {
        probe: async (signal) => {
          link.probes++;
          link.open++;
          try {
            await clock.sleep(link.up ? 20 : 1e9, signal);
            return undefined;
          } finally {
            link.open--;
          }
        },
        onHealth: (value) => health.push([clock.now(), value]),
        ...options,
      },
    );
    return { clock, monitor, health, link };
  }

  test('measures the path, finds it dead within 1 s while data is sent, and leaves nothing behind (D4)', async () => {
    const { clock, monitor, health, link } = world();
    await clock.advance(20_000);
    expect(monitor.state.rttMs).toBeCloseTo(20);
    link.up = false;
    for (let ms = 0; ms < 2_000; ms += 20) {
      monitor.sent();
      await clock.advance(20);
    }
    expect(health.map(([, value]) => value)).toEqual(['suspect', 'dead']);
    expect(health[0]?.[0]).toBeLessThanOrEqual(20_650);
    expect(health[1]?.[0]).toBeLessThanOrEqual(20_850);
    monitor.stop();
    await clock.advance(0);
    expect([clock.pendingTimers, link.open]).toEqual([0, 0]);
  });

  test('when the packets take another way, a probe leaves at once, and its round trip takes the place of the smoothed one', async () => {
    let rttMs = 400;
    const { clock, monitor } = world({ probe: (signal) => clock.sleep(rttMs, signal).then(() => undefined) });
    await clock.advance(21_000);
    expect([monitor.state.rttMs, monitor.state.probeLimitAtMs]).toEqual([400, undefined]);
    rttMs = 20;
    const { probeId } = monitor.state;
    monitor.moved();
    expect([monitor.state.probeId, monitor.state.rttMs]).toEqual([probeId + 1, 400]);
    await clock.advance(20);
    expect([monitor.state.rttMs, monitor.state.rttVariationMs]).toEqual([20, 10]);
    rttMs = 80;
    await clock.advance(3_100);
    expect(monitor.state.rttMs).toBeGreaterThan(20);
    expect(monitor.state.rttMs).toBeLessThan(80);
    monitor.stop();
  });

  test('the answer to a probe of before the packets took another way ends suspicion, and does not count as a round trip', async () => {
    let rttMs = 400;
    const { clock, monitor } = world({ probe: (signal) => clock.sleep(rttMs, signal).then(() => undefined) });
    await clock.advance(20_000);
    const answeredAtMs = monitor.state.lastProbeAtMs + 3_400;
    await clock.advance(answeredAtMs - 300 - clock.now());
    expect(monitor.state.probeLimitAtMs).toBeDefined();
    rttMs = 20;
    monitor.moved();
    await clock.advance(300);
    const { lastHeardAtMs, measuredAtMs, isOutdated } = monitor.state;
    expect([lastHeardAtMs, measuredAtMs, isOutdated, monitor.state.rttMs]).toEqual([
      answeredAtMs,
      answeredAtMs,
      true,
      400,
    ]);
    await clock.advance(20);
    expect([monitor.state.isOutdated, monitor.state.rttMs]).toEqual([false, 20]);
    monitor.stop();
  });

  test('data that was sent unanswered since a moment in the past is followed by a probe 250 ms after that', async () => {
    const { clock, monitor, link } = world();
    await clock.advance(19_000);
    const { probes } = link;
    monitor.sent(clock.now() - 200);
    await clock.advance(49);
    expect(link.probes).toBe(probes);
    await clock.advance(1);
    expect(link.probes).toBe(probes + 1);
    monitor.stop();
  });

  test('a path that carries echoes and keep-alives only is idle, and one of them unanswered is followed by a probe', async () => {
    const { clock, monitor, link } = world();
    const echo = async () => {
      monitor.sent(undefined, false);
      await clock.advance(10);
      monitor.heard(false);
      await clock.advance(29_990);
    };
    for (let round = 0; round < 2; round++) await echo();
    const { probes } = link;
    for (let round = 0; round < 10; round++) await echo();
    expect(link.probes - probes).toBeLessThanOrEqual(10);
    const idle = link.probes;
    monitor.sent(undefined, false);
    await clock.advance(260);
    expect(link.probes).toBe(idle + 1);
    monitor.stop();
  });

  test('data in one direction keeps a path in use, whatever is heard meanwhile', async () => {
    const { clock, monitor, link } = world();
    for (let ms = 0; ms < 120_000; ms += 100) {
      monitor.sent();
      monitor.heard(false);
      await clock.advance(100);
    }
    expect(link.probes).toBeGreaterThan(40);
    monitor.stop();
  });

  test('data in both directions costs no more probes than time does', async () => {
    const { clock, monitor, link } = world();
    for (let ms = 0; ms < 20_000; ms += 5) {
      monitor.sent();
      monitor.heard();
      await clock.advance(5);
    }
    expect(link.probes).toBeLessThanOrEqual(11);
    monitor.stop();
  });

  test('probes that throw are missed ones', async () => {
    const { clock, monitor, health } = world({
      probe: () => Promise.reject(new Error('no route')),
      handshakeRttMs: 50,
    });
    await clock.advance(5_000);
    expect(health).toEqual([
      [300, 'suspect'],
      [600, 'dead'],
    ]);
    monitor.stop();
    expect(clock.pendingTimers).toBe(0);
  });

  test('never stays dead or alive against the facts, at 10 % loss (property)', async () => {
    for (let seed = 101; seed <= 150; seed++) {
      const clock = new VirtualClock();
      const random = new SeededRandom(seed);
      let dead = false;
      let up = true;
      const monitor = new Monitor(
        { clock },
        {
          probe: async (signal) => {
            await clock.sleep(up && random.next() > 0.1 ? random.integer(5, 80) : 1e9, signal);
            return undefined;
          },
          onHealth: (health) => {
            dead ||= health === 'dead';
          },
          handshakeRttMs: 40,
        },
      );
      await clock.advance(30_000);
      const falsely = dead;
      up = false;
      await clock.advance(10_000);
      expect(dead, `seed ${seed}`).toBe(true);
      // Five lost in a row at 10 % is one round of probes in 100,000.
      expect(falsely, `seed ${seed}`).toBe(false);
      monitor.stop();
      await clock.advance(0);
      expect(clock.pendingTimers).toBe(0);
    }
  });
});
