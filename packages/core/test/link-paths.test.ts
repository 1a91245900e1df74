import { describe, expect, test } from 'vitest';
import {
  AbortedError,
  type Candidate,
  createLog,
  Link,
  type LinkOptions,
  type PathKind,
  PathReason,
  Race,
  TowpathError,
} from '../src/index.ts';
import { VirtualClock } from '../src/testing.ts';

interface Path {
  id: string;
  kind: PathKind;
  rttMs: number;
  up: boolean;
}

/** A link to a target with paths that the test makes; what is not given does nothing. */
function world(options: Partial<LinkOptions<Path>> = {}) {
  const clock = new VirtualClock();
  const connects: string[] = [];
  const released: string[] = [];
  const told: string[] = [];
  const logged: string[] = [];
  const killers = new Map<string, (error: TowpathError) => void>();
  const path = (id: string, rttMs = 20, kind: PathKind = 'p2p'): Path => ({ id, kind, rttMs, up: true });
  const link = new Link<Path>(
    { clock, log: createLog(({ level, message }) => logged.push(`${level} ${message}`)) },
    {
      target: 'peer.test',
      connect: async ({ purpose }) => {
        connects.push(`${purpose} ${clock.now()}`);
        return path(`path-${connects.length}`);
      },
      describe: ({ id, kind, rttMs }) => ({ id, kind, rttMs, label: id }),
      watch: ({ id }, { signal }) =>
        new Promise((resolve) => {
          killers.set(id, resolve);
          signal.addEventListener('abort', () => resolve(new AbortedError('unwatched')));
        }),
      release: ({ id }, reason) => {
        released.push(`${id} ${reason}`);
      },
      first: { delaysMs: () => [1_000, 1_000] },
      again: { delaysMs: () => [100, 100], slowRetryMs: 2_000 },
      ...options,
    },
  );
  link.events.on('up', ({ path: now, previous, replaced, reason }) => {
    told.push(`${previous?.id ?? '-'} > ${now.id}${replaced ? ' replaced' : ''} ${reason}`);
  });
  link.events.on('down', ({ error, reason }) => told.push(`down ${error.code} ${reason}`));
  const probe = async ({ up, rttMs }: Path, signal: AbortSignal): Promise<undefined> => {
    await clock.sleep(up ? rttMs : 1e9, signal);
    return undefined;
  };
  const kill = (id: string) => killers.get(id)?.(new TowpathError('session-dead', `${id} is silent.`));
  const close = async () => {
    await clock.runUntil(link.close());
    expect([clock.pendingTimers, link.paths.size]).toEqual([0, 0]);
  };
  return { clock, link, connects, released, told, logged, path, probe, kill, close };
}

describe('a link that is up', () => {
  test('moves from the relay to a direct path that is offered, and keeps the link up meanwhile (A7)', async () => {
    const { clock, link, released, told, path, close } = world({
      connect: async ({ offer, goesOn, signal }) => {
        goesOn(clock.sleep(3_000, signal).then(() => offer(path('direct', 15))));
        return path('relay', 60, 'relay');
      },
    });
    const phases: string[] = [];
    link.events.on('phase', (phase) => phases.push(phase));
    await clock.runUntil(link.ready());
    await clock.advance(5_000);
    expect(told).toEqual(['- > relay first', 'relay > direct replaced direct']);
    expect(phases).toEqual(['connecting', 'up']);
    expect(released).toEqual(['relay surplus']);
    await close();
  });

  test('searches for a better path on its schedule, until there is one', async () => {
    const { clock, connects, link, told, path, close } = world({
      connect: async ({ purpose, tries }) => {
        connects.push(`${purpose} ${clock.now()}`);
        if (purpose === 'connect') return path('relay', 60, 'relay');
        if (connects.length < 4) throw new TowpathError('no-answer', `Search ${tries} found nothing.`);
        return path('direct', 15);
      },
      improve: { wanted: ({ kind }) => kind === 'relay', delaysMs: () => [1_000, 2_000, 4_000, 8_000, 8_000] },
    });
    await clock.runUntil(link.ready());
    await clock.advance(120_000);
    expect(connects).toEqual(['connect 0', 'improve 1000', 'improve 3000', 'improve 7000']);
    expect(told.at(-1)).toBe('relay > direct replaced direct');
    await close();
  });

  test('a search is ended by its limit, and the next one follows', async () => {
    const { clock, connects, link, path, close } = world({
      connect: ({ purpose, signal }) => {
        connects.push(`${purpose} ${clock.now()}`);
        if (purpose === 'connect') return Promise.resolve(path('relay', 60, 'relay'));
        return clock.sleep(1e9, signal).then(() => path('never'));
      },
      improve: { wanted: () => true, delaysMs: () => [1_000, 1_000], limitMs: 500 },
    });
    await clock.runUntil(link.ready());
    await clock.advance(10_000);
    expect(connects).toEqual(['connect 0', 'improve 1000', 'improve 2500']);
    await close();
  });

  test('a refresh probes the paths at once and searches with a fresh schedule (C8)', async () => {
    let probes = 0;
    const { clock, connects, link, path, close } = world({
      connect: async ({ purpose }) => {
        connects.push(`${purpose} ${clock.now()}`);
        if (purpose === 'connect') return path('relay', 60, 'relay');
        throw new TowpathError('no-answer', 'Nothing better.');
      },
      probe: async (_path, signal) => {
        probes++;
        await clock.sleep(5, signal);
        return undefined;
      },
      improve: { wanted: ({ kind }) => kind === 'relay', delaysMs: () => [1_000, 60_000] },
    });
    await clock.runUntil(link.ready());
    await clock.advance(31_500);
    const before = probes;
    link.refresh(PathReason.networkChanged);
    await clock.advance(0);
    expect(probes).toBe(before + 1);
    await clock.advance(1_000);
    expect(connects).toEqual(['connect 0', 'improve 1000', 'improve 31500', 'improve 32500']);
    await close();
  });

  test('a refresh after the last search of the schedule begins a new one', async () => {
    const { clock, connects, link, path, close } = world({
      connect: async ({ purpose }) => {
        connects.push(`${purpose} ${clock.now()}`);
        if (purpose === 'connect') return path('relay', 60, 'relay');
        link.refresh(PathReason.requested);
        if (connects.length > 3) return path('direct', 15);
        throw new TowpathError('no-answer', 'Nothing better.');
      },
      improve: { wanted: ({ kind }) => kind === 'relay', delaysMs: () => [1_000] },
    });
    await clock.runUntil(link.ready());
    await clock.advance(5_000);
    expect(connects).toEqual(['connect 0', 'improve 1000', 'improve 1000', 'improve 1000']);
    expect(link.path?.id).toBe('direct');
    await close();
  });

  test('a suspect path without a standby makes it search for one, which takes over without a loss (D4)', async () => {
    const first: Path = { id: 'first', kind: 'p2p', rttMs: 20, up: true };
    const { clock, connects, link, told, path, probe, close } = world({
      connect: async ({ purpose, signal }) => {
        connects.push(purpose);
        await clock.sleep(50, signal);
        return purpose === 'connect' ? first : path('second', 30);
      },
      probe: (which, signal) => probe(which, signal),
    });
    await clock.runUntil(link.ready());
    await clock.advance(20_000);
    first.up = false;
    await clock.advance(5_000);
    expect(connects).toEqual(['connect', 'standby']);
    expect(told).toEqual(['- > first first', expect.stringMatching(/^first > second replaced /)]);
    await close();
  });

  test('a standby that is not found leaves the loss to the next round of tries', async () => {
    const first: Path = { id: 'first', kind: 'p2p', rttMs: 20, up: true };
    const { clock, connects, link, told, path, probe, close } = world({
      connect: async ({ purpose, reconnect, signal }) => {
        connects.push(purpose);
        await clock.sleep(50, signal);
        if (purpose === 'standby') throw new TowpathError('no-answer', 'Nothing else.');
        return reconnect ? path('second', 30) : first;
      },
      probe: (which, signal) => probe(which, signal),
    });
    await clock.runUntil(link.ready());
    await clock.advance(10_000);
    first.up = false;
    await clock.advance(10_000);
    expect(connects[0]).toBe('connect');
    expect(connects).toContain('standby');
    expect(told).toEqual(['- > first first', 'down path-dead probes-lost', '- > second first']);
    expect(link.path?.id).toBe('second');
    await close();
  });
});

describe('a link that is connecting', () => {
  test('a refresh makes the next try follow a failed one at once, with a fresh round (C8)', async () => {
    const { clock, connects, link, close } = world({
      connect: async ({ signal, tries }) => {
        connects.push(`${tries} at ${clock.now()}`);
        await clock.sleep(400, signal);
        throw new TowpathError('no-answer', 'Nobody there.');
      },
    });
    link.start();
    await clock.advance(200);
    link.refresh(PathReason.networkChanged);
    await clock.advance(3_000);
    expect(connects).toEqual(['1 at 0', '1 at 400', '2 at 1800', '3 at 3200']);
    await close();
  });

  test('a path that comes and goes during a try neither makes two tries run nor ends the later one (A6)', async () => {
    let running = 0;
    let most = 0;
    let released = Promise.withResolvers<void>();
    const { clock, connects, link, told, path, close } = world({
      connect: async ({ signal }) => {
        connects.push(`${clock.now()}`);
        most = Math.max(most, ++running);
        try {
          await clock.sleep(1_000, signal);
          return path('tried');
        } finally {
          running--;
        }
      },
      release: () => released.promise,
    });
    released.resolve();
    await clock.runUntil(link.ready());
    released = Promise.withResolvers();
    // The loss starts a try, which waits for the release; a path comes by another way and is lost again.
    link.reportLoss(link.path!, new TowpathError('session-dead', 'first loss'));
    const other = path('other');
    link.add(other);
    link.reportLoss(other, new TowpathError('session-dead', 'second loss'));
    released.resolve();
    await clock.advance(1_000);
    expect(told.slice(1)).toEqual([
      'down session-dead closed',
      '- > other first',
      'down session-dead closed',
      '- > tried first',
    ]);
    expect([connects, most]).toEqual([['0', '1000'], 1]);
    await close();
  });

  test('a try is bounded in time also while a lost path does not let go', async () => {
    const { clock, link, kill, told } = world({
      again: { delaysMs: () => [], limitMs: 3_000 },
      release: () => clock.sleep(60_000),
    });
    await clock.runUntil(link.ready());
    kill('path-1');
    await clock.advance(3_000);
    expect(told.at(-1)).toBe('down session-dead closed');
    expect([link.phase, link.lastError?.code]).toEqual(['failed', 'retries-timed-out']);
    await clock.runUntil(link.close());
    expect(clock.pendingTimers).toBe(0);
  });

  test('after a round that ended by its limit, only the slow tries go on', async () => {
    const { clock, connects, link, close } = world({
      connect: async ({ tries }) => {
        connects.push(`${tries} at ${clock.now()}`);
        throw new TowpathError('no-answer', 'Nobody there.');
      },
      first: { delaysMs: () => Array(50).fill(400), limitMs: 1_000, slowRetryMs: 5_000 },
    });
    link.start();
    await clock.advance(16_000);
    expect(connects).toEqual(['1 at 0', '2 at 400', '3 at 800', '4 at 5800', '5 at 10800', '6 at 15800']);
    await close();
  });
});

describe('listeners of a link', () => {
  test('that throw, or reject, are logged and change nothing', async () => {
    const { clock, link, logged, told, kill, close } = world();
    for (const name of ['phase', 'up', 'down'] as const) {
      link.events.on(name, () => {
        throw new Error(`thrown by ${name}`);
      });
      link.events.on(name, (async () => {
        throw new Error(`rejected by ${name}`);
      }) as () => void);
    }
    await clock.runUntil(link.ready());
    kill('path-1');
    await clock.advance(1_000);
    expect(told).toEqual(['- > path-1 first', 'down session-dead closed', '- > path-2 first']);
    for (const text of ['thrown by phase', 'rejected by phase', 'thrown by up', 'thrown by down', 'rejected by down']) {
      expect(logged.some((line) => line.startsWith('error') && line.includes(text))).toBe(true);
    }
    await close();
  });

  test('that report a loss, add a path and refresh meet the link between two steps, in order', async () => {
    const { clock, link, told, path, released, close } = world();
    let once = true;
    link.events.on('up', ({ path: now }) => {
      if (!once) return;
      once = false;
      link.reportLoss(now, new TowpathError('refused', 'Not this one.'));
      link.add(path('mine'));
      link.refresh(PathReason.requested);
      link.start();
    });
    const phases: string[] = [];
    link.events.on('phase', (phase) => phases.push(`${phase} ${link.path?.id ?? '-'}`));
    await clock.runUntil(link.ready());
    await clock.advance(1_000);
    expect(told).toEqual(['- > path-1 first', 'down refused closed', '- > mine first']);
    expect(phases.at(-1)).toBe('up mine');
    expect(released).toEqual(['path-1 closed']);
    await close();
  });

  test('that close the link end it, and those who wait learn of it', async () => {
    const { clock, link, released } = world();
    link.events.on('up', () => void link.close());
    const first = await clock.runUntil(link.ready());
    expect(first.id).toBe('path-1');
    await clock.advance(0);
    expect([link.phase, released]).toEqual(['closed', ['path-1 shutdown']]);
    await expect(link.ready()).rejects.toMatchObject({ code: 'link-closed' });
    await clock.runUntil(link.close());
    expect([clock.pendingTimers, link.paths.size]).toEqual([0, 0]);
  });

  test('a close from inside a listener resolves only when the paths are released', async () => {
    const { clock, link, released } = world({
      release: ({ id }) => clock.sleep(200).then(() => void released.push(id)),
    });
    const closed: string[][] = [];
    link.paths.events.on('current', ({ path }) => {
      if (path) void link.paths.close().then(() => closed.push([...released]));
    });
    link.start();
    await clock.advance(1_000);
    expect(closed[0]).toEqual(['path-1']);
    await clock.runUntil(link.close());
  });
});

describe('a link over a race', () => {
  /** Two direct candidates; each answers after its round trip, and `head` starts first. */
  function twoPaths(rttMs: Record<string, number>, head: string) {
    const paths: Record<string, Path> = {};
    const made = world({
      connect: async ({ signal, offer, goesOn }) => {
        const race = new Race<Path>(
          { clock: made.clock },
          { limitMs: 10_000, settleMs: 300, signal, undo: () => {}, onPath: (path) => offer(path) },
        );
        const candidates = ['a', 'b'].map(
          (id): Candidate<Path> => ({
            id,
            kind: id,
            label: id,
            connect: async (context) => {
              await made.clock.sleep(id === head ? 1 : 100, context.signal);
              paths[id] = { id, kind: 'p2p', rttMs: rttMs[id]!, up: true };
              return paths[id];
            },
          }),
        );
        race.add(...candidates);
        race.seal();
        goesOn(race.settled);
        const result = await race.result;
        if (!result.ok) throw new TowpathError('no-answer', 'Neither answered.');
        return result.path;
      },
      probe: async (path, signal) => {
        await made.clock.sleep(path.up ? path.rttMs : 1e9, signal);
        return undefined;
      },
      selection: { standbys: 1 },
    });
    return { ...made, paths };
  }

  test.each(['a', 'b'])(
    'of two direct paths of 10 and 40 ms the faster one is used although %s answers first, and again after they swap',
    async (head) => {
      const { clock, link, told, paths, close } = twoPaths({ a: 10, b: 40 }, head);
      await clock.runUntil(link.ready());
      expect(link.path?.id).toBe(head);
      await clock.advance(10_000);
      expect([link.path?.id, link.paths.standby?.id]).toEqual(['a', 'b']);
      paths.a!.rttMs = 40;
      paths.b!.rttMs = 10;
      await clock.advance(30_000);
      expect([link.path?.id, link.paths.standby?.id]).toEqual(['b', 'a']);
      await clock.advance(600_000);
      expect(told.length).toBe(head === 'a' ? 2 : 3);
      expect(told.some((line) => line.startsWith('down'))).toBe(false);
      await close();
    },
  );

  test.each([
    { noticed: 'its watch', closes: true },
    { noticed: 'unanswered data', closes: false },
  ])(
    'a standby takes over within 1 s of the death of the current path, noticed by $noticed (D4)',
    async ({ closes }) => {
      const { clock, link, paths, kill, told, close } = twoPaths({ a: 10, b: 40 }, 'a');
      await clock.runUntil(link.ready());
      await clock.advance(20_000);
      expect([link.path?.id, link.paths.standby?.id]).toEqual(['a', 'b']);
      const diedAt = clock.now();
      paths.a!.up = false;
      if (closes) kill('a');
      while (link.path !== paths.b && clock.now() < diedAt + 10_000) {
        link.paths.sent(link.path!);
        await clock.advance(10);
      }
      expect(clock.now() - diedAt).toBeLessThan(1_000);
      expect(told.at(-1)).toMatch(/^a > b replaced /);
      expect(told.some((line) => line.startsWith('down'))).toBe(false);
      await close();
    },
  );
});
