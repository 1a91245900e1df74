import { describe, expect, test } from 'vitest';
import {
  createLog,
  type PathKind,
  PathReason,
  PathSet,
  type PathSetOptions,
  SeededRandom,
  TowpathError,
} from '../src/index.ts';
import { VirtualClock } from '../src/testing.ts';

interface Path {
  id: string;
  kind: PathKind;
  rttMs: number;
  up: boolean;
}

function world(options: Partial<PathSetOptions<Path>> = {}) {
  const clock = new VirtualClock();
  const told: string[] = [];
  const logged: string[] = [];
  const released: string[] = [];
  const open = { probes: 0 };
  const closers = new Map<string, (error: TowpathError) => void>();
  const log = createLog(({ level, message }) => logged.push(`${level} ${message}`));
  const set = new PathSet<Path>(
    { clock, log },
    {
      target: 'peer.test',
      describe: ({ id, kind, rttMs }) => ({ id, kind, label: id, rttMs }),
      probe: async (path, signal) => {
        open.probes++;
        try {
          await clock.sleep(path.up ? path.rttMs : 1e9, signal);
          return undefined;
        } finally {
          open.probes--;
        }
      },
      closed: ({ id }, signal) =>
        new Promise((resolve, reject) => {
          closers.set(id, resolve);
          signal.addEventListener('abort', () => reject(signal.reason));
        }),
      release: ({ id }, reason) => {
        released.push(`${id} ${reason}`);
      },
      ...options,
    },
  );
  set.events.on('current', ({ path, previous, reason }) => told.push(`${previous?.id} > ${path?.id} ${reason}`));
  const path = (id: string, rttMs: number, kind: PathKind = 'p2p'): Path => ({ id, kind, rttMs, up: true });
  return { clock, set, told, logged, released, open, closers, path };
}

describe('path set', () => {
  test('of two direct paths of 10 and 40 ms the faster one is used, whatever came first, and again after they swap', async () => {
    for (const order of [0, 1]) {
      const { clock, set, told, path, open } = world();
      const paths = [path('a', 10), path('b', 40)];
      set.add(paths[order]!);
      set.add(paths[1 - order]!);
      await clock.advance(10_000);
      expect(set.current?.id).toBe('a');
      expect(set.standby?.id).toBe('b');
      paths[0]!.rttMs = 40;
      paths[1]!.rttMs = 10;
      await clock.advance(30_000);
      expect(set.current?.id).toBe('b');
      await clock.advance(600_000);
      expect(told).toHaveLength(order === 0 ? 2 : 3);
      await set.close();
      await clock.advance(0);
      expect([clock.pendingTimers, open.probes, set.size]).toEqual([0, 0, 0]);
    }
  });

  test('the standby carries the data within 1 s of the death of the current path (D4)', async () => {
    const { clock, set, told, released, path } = world();
    const [direct, relay] = [path('direct', 30), path('relay', 60, 'relay')];
    set.add(relay);
    set.add(direct);
    await clock.advance(20_000);
    direct.up = false;
    const diedAt = clock.now();
    while (set.alsoSendOn !== relay && set.current !== relay) {
      set.sent(direct);
      await clock.advance(10);
    }
    expect(clock.now() - diedAt).toBeLessThan(1_000);
    await clock.advance(1_000);
    expect(told.at(-1)).toBe('direct > relay probes-lost');
    expect(released).toEqual(['direct probes-lost']);
    await set.close();
  });

  describe('with a standby that may take over early', () => {
    const times = { suspectAfter: 2, replaceAfter: 3 };

    /** Sends on the current path, every 10 ms, as a peer does that awaits answers. */
    async function talk({ clock, set }: ReturnType<typeof world>, ms: number) {
      for (let at = 0; at < ms; at += 10) {
        if (set.current !== undefined) set.sent(set.current);
        await clock.advance(10);
      }
    }

    test('the standby takes over when it has answered and three probes of the current path were missed (C9, D4)', async () => {
      const net = world({ times });
      const [direct, relay] = [net.path('direct', 20), net.path('relay', 30, 'relay')];
      net.set.add(direct);
      net.set.add(relay);
      await net.clock.advance(21_000);
      direct.up = false;
      // Noticed after 250 ms, and two probes of 100 ms.
      await talk(net, 460);
      expect([net.set.current?.id, net.set.alsoSendOn?.id]).toEqual(['direct', 'relay']);
      await talk(net, 100);
      expect(net.told.at(-1)).toBe('direct > relay probes-lost');
      await net.set.close();
    });

    test('it does not when it does not answer either: the other end may be slow, and both paths be well', async () => {
      const net = world({ times });
      const paths = [net.path('direct', 20), net.path('relay', 30, 'relay')];
      for (const each of paths) net.set.add(each);
      await net.clock.advance(21_000);
      for (const each of paths) each.up = false;
      await talk(net, 600);
      for (const each of paths) each.up = true;
      await talk(net, 1_000);
      expect(net.told).toEqual(['undefined > direct first']);
      await net.set.close();
    });

    test('two paths that are alike do not take turns when both lose 30 % in each direction', async () => {
      for (let seed = 1; seed <= 40; seed++) {
        const random = new SeededRandom(seed);
        const clock = new VirtualClock();
        const arrives = () => random.next() > 0.3;
        const told: string[] = [];
        const set: PathSet<Path> = new PathSet<Path>(
          { clock },
          {
            target: 'peer.test',
            times,
            describe: ({ id, kind, rttMs }) => ({ id, kind, label: id, rttMs }),
            probe: async ({ rttMs }, signal) => {
              await clock.sleep(arrives() && arrives() ? rttMs : 1e9, signal);
              return undefined;
            },
            release: () => {},
          },
        );
        set.events.on('current', ({ path, reason }) => told.push(`${path?.id} ${reason}`));
        for (const id of ['a', 'b']) set.add({ id, kind: 'p2p', rttMs: 20, up: true });
        for (let at = 0; at < 120_000; at += 50) {
          if (set.current !== undefined) set.sent(set.current);
          if (set.current !== undefined && arrives() && arrives()) set.heard(set.current);
          await clock.advance(50);
        }
        // A change for speed is the noise of the loss that is measured; it is limited.
        expect(
          told.filter((line) => line.endsWith('probes-lost')),
          `seed ${seed}`,
        ).toEqual([]);
        expect(told.length, `seed ${seed}`).toBeLessThanOrEqual(5);
        await set.close();
      }
    });

    test('without traffic nothing is probed more often for it', async () => {
      const net = world({ times });
      const plain = world();
      for (const { set, path } of [net, plain]) for (const id of ['a', 'b']) set.add(path(id, 20));
      const count = async ({ clock, set }: typeof net) => {
        let probes = 0;
        for (let at = 0; at < 600; at++) {
          await clock.advance(1_000);
          probes += set.status().length;
        }
        return probes;
      };
      expect(await count(net)).toBe(await count(plain));
      await net.set.close();
      await plain.set.close();
    });
  });

  test('the doubt of the remote end sends the data over the standby as well, until a probe is answered', async () => {
    const { clock, set, told, path } = world({ times: { suspectAfter: 2, replaceAfter: 3 } });
    const [a, b] = [path('a', 10), path('b', 20)];
    set.add(a);
    set.add(b);
    await clock.advance(20_000);
    set.doubt();
    expect(set.alsoSendOn).toBe(b);
    await clock.advance(11);
    expect(set.alsoSendOn).toBeUndefined();
    a.up = false;
    set.doubt();
    await clock.advance(110);
    expect([set.current, told.at(-1)]).toEqual([b, 'a > b probes-lost']);
    await set.close();
  });

  test('the old path is released after it has drained, and carries on until then (make before break)', async () => {
    const clock = new VirtualClock();
    const { set, released, told, path } = world({ standbys: 0, drain: (_path, signal) => clock.sleep(80, signal) });
    set.add(path('relay', 60, 'relay'));
    set.add(path('direct', 10));
    await clock.advance(79);
    expect(told).toEqual(['undefined > relay first', 'relay > direct direct']);
    expect([set.current?.id, set.size, released]).toEqual(['direct', 2, []]);
    await clock.advance(1);
    expect([set.size, released]).toEqual([1, ['relay surplus']]);
    await set.close();
  });

  test('draining has a limit', async () => {
    const { clock, set, released, path } = world({
      standbys: 0,
      drain: () => new Promise(() => {}),
      drainLimitMs: 500,
    });
    set.add(path('relay', 60, 'relay'));
    set.add(path('direct', 10));
    await clock.advance(499);
    expect(released).toEqual([]);
    await clock.advance(1);
    expect(released).toEqual(['relay surplus']);
    await set.close();
    expect(clock.pendingTimers).toBe(0);
  });

  test('a path that nobody needs, or that comes twice, or after the end, is released and not used', async () => {
    const { clock, set, released, told, path } = world({ standbys: 0 });
    set.add(path('a', 10));
    set.add(path('b', 10));
    set.add(path('a', 5));
    await clock.advance(0);
    expect(released).toEqual(['b surplus', 'a surplus']);
    await set.close();
    set.add(path('c', 1));
    await clock.advance(0);
    expect(released.slice(2)).toEqual(['a shutdown', 'c shutdown']);
    expect(told).toEqual(['undefined > a first', 'a > undefined shutdown']);
  });

  test('a path that closes by itself is left with its own error', async () => {
    const { clock, set, closers, path } = world();
    set.add(path('a', 10));
    set.add(path('b', 40));
    const seen: (string | undefined)[] = [];
    set.events.on('current', ({ reason, error }) => seen.push(reason, error?.code));
    closers.get('a')?.(new TowpathError('closed-by-peer', 'bye'));
    await clock.advance(0);
    expect(seen).toEqual([PathReason.closed, 'closed-by-peer']);
    expect(set.current?.id).toBe('b');
    await set.close();
  });

  test('a policy that forbids the current path ends it at once', async () => {
    const { clock, set, told, released, path } = world();
    set.add(path('direct', 10));
    set.configure({ policy: 'relay-only' });
    await clock.advance(0);
    expect(set.current).toBeUndefined();
    expect(released).toEqual(['direct surplus']);
    expect(told.at(-1)).toBe('direct > undefined policy');
    await set.close();
  });

  test('listeners that throw, add and remove disturb nothing', async () => {
    const { clock, set, logged, path, open } = world();
    let added = false;
    set.events.on('current', ({ path: current }) => {
      if (!added) set.add(path('b', 1));
      added = true;
      if (current?.id === 'b') set.remove(current, PathReason.requested);
      throw new Error('listener');
    });
    set.add(path('a', 90, 'relay'));
    await clock.advance(1_000);
    expect(set.current?.id).toBe('a');
    expect(logged.filter((line) => line.startsWith('error')).length).toBeGreaterThan(0);
    await set.close();
    await clock.advance(0);
    expect([clock.pendingTimers, open.probes]).toEqual([0, 0]);
  });

  test('redundancy, policy and standbys can be changed while it runs', async () => {
    const { set, path } = world();
    set.add(path('a', 10));
    set.add(path('b', 40));
    expect(set.alsoSendOn).toBeUndefined();
    set.configure({ redundancy: 2 });
    expect(set.alsoSendOn?.id).toBe('b');
    set.configure({ redundancy: 1, standbys: 0 });
    expect([set.alsoSendOn, set.standby]).toEqual([undefined, undefined]);
    await set.close();
  });

  test('data that is lost as often as probes are is no reason to avoid a path; lost more often, it is', async () => {
    const random = new SeededRandom(7);
    const { clock, set, path } = world({
      probe: async ({ rttMs }, signal) => {
        await clock.sleep(random.next() > 0.3 ? rttMs : 1e9, signal);
        return undefined;
      },
    });
    for (const each of [path('d', 10), path('r', 30, 'relay')]) set.add(each);
    /** Data over the path in use is lost, at a moment at which its last probe was answered. */
    const loseInARow = async (times: number) => {
      for (let turn = 0; turn < 400; turn++) {
        await clock.advance(250);
        if (set.current?.id !== 'd' || set.alsoSendOn !== undefined) continue;
        set.dataLost(times);
        if (set.current.id !== 'd') return false;
      }
      return true;
    };
    expect([await loseInARow(0), set.current?.id]).toEqual([true, 'd']);
    expect([await loseInARow(2), set.current?.id]).toEqual([true, 'd']);
    expect([await loseInARow(12), set.current?.id]).toEqual([false, 'r']);
    await set.close();
  });

  test('a path that answers its probes and loses the data is avoided for 1, 2, 4 … minutes, kept, and forgiven', async () => {
    const { clock, set, told, path } = world();
    for (const each of [path('d', 10), path('r', 30, 'relay')]) set.add(each);
    await clock.advance(1_000);
    told.length = 0;
    for (const minutes of [1, 2, 4]) {
      set.dataLost();
      expect([set.current?.id, set.standby?.id]).toEqual(['r', 'd']);
      set.dataCarried();
      await clock.advance(minutes * 60_000 - 1);
      expect(set.current?.id).toBe('r');
      await clock.advance(1);
      expect(set.current?.id).toBe('d');
    }
    expect(told).toEqual([1, 2, 4].flatMap(() => ['d > r data-lost', 'r > d direct']));
    // It carries data for a minute, and is avoided for no longer than the first time.
    await clock.advance(60_000);
    set.dataCarried();
    set.dataLost();
    await clock.advance(60_000);
    expect(set.current?.id).toBe('d');
    set.dataLost();
    expect(set.current?.id).toBe('r');
    set.forgetDataLoss();
    expect(set.current?.id).toBe('d');
    await set.close();
    expect(clock.pendingTimers).toBe(0);
  });

  test('no path is avoided while the data is lost on every one of them, nor one that misses probes', async () => {
    const { clock, set, told, path } = world();
    const paths = [path('d', 10), path('r', 30, 'relay')];
    for (const each of paths) set.add(each);
    await clock.advance(1_000);
    told.length = 0;
    for (let turn = 0; turn < 5; turn++) set.dataLost();
    expect(told).toEqual(['d > r data-lost', 'r > d direct']);
    set.dataCarried();
    set.dataLost();
    expect(set.current?.id).toBe('r');
    set.dataCarried();
    await clock.advance(60_000);
    expect(set.current?.id).toBe('d');
    paths[0]!.up = false;
    set.wake();
    await clock.advance(150);
    set.dataLost();
    expect(set.current?.id).toBe('d');
    await set.close();
  });

  test('a path that loses the data is used where it is the only one, and left when there is another', async () => {
    const { clock, set, path } = world();
    set.add(path('d', 10));
    set.dataLost();
    expect(set.current?.id).toBe('d');
    set.add(path('r', 30, 'relay'));
    expect(set.current?.id).toBe('r');
    await clock.advance(60_000);
    expect(set.current?.id).toBe('d');
    await set.close();
  });

  test('says when its current path is in doubt: at the first probe that is missed, and when the remote end doubts it', async () => {
    const doubted: [string, number][] = [];
    const { clock, set, path } = world({ onDoubt: ({ id }) => void doubted.push([id, clock.now() - startMs]) });
    const startMs = clock.now();
    const direct = path('direct', 20);
    set.add(direct);
    set.add(path('relay', 40, 'relay'));
    await clock.advance(4_500);
    set.doubt();
    expect(doubted).toEqual([['direct', 4_500]]);
    await clock.advance(3_000);
    direct.up = false;
    await clock.advance(3_000);
    expect(doubted.length).toBeGreaterThan(1);
    expect(doubted.every(([id]) => id === 'direct')).toBe(true);
    await set.close();
  });
});
