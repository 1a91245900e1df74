import { createLog, SeededRandom } from '@towpath/core';
import type { NatKind } from '@towpath/net/simulated';
import { encodeMessage } from '@towpath/pppp/codec';
import { describe, expect, test } from 'vitest';
import { CameraClient, connectCamera, type ContestedUid, RaceConnector } from '../src/index.ts';
import { type ConnectParallelOptions, ParallelConnectionManager } from '../src/compat/parallel-connection-manager.ts';
import { UID, world } from './three-way-world.ts';

const KINDS: readonly NatKind[] = [
  'open',
  'fullCone',
  'portRestricted',
  'symmetricSequential',
  'symmetricRandom',
  'udpBlocked',
];

/** How many simulated races: 10,000 where it must hold, fewer where somebody waits. */
const RACES = Number(process.env.TOWPATH_RACES ?? (process.env.CI === 'true' ? 10_000 : 1_000));

describe('three kinds of path to a camera', () => {
  test('a camera that only servers can find is reached by its UID, directly when the NATs let it (A2, A7)', async () => {
    const { clock, components, endpoints, close } = await world();
    const manager = new ParallelConnectionManager(UID, { ...components, servers: endpoints });
    const result = await clock.runUntil(manager.connectParallel({ enableRelay: true }));
    expect(result).toMatchObject({ success: true });
    expect(result.report.attempts.map(({ id }) => id).sort()).toEqual([
      'lan:search',
      'p2p:rendezvous',
      'relay:servers',
    ]);
    if (result.success) await clock.runUntil(result.session.close());
    await close();
  });

  test('all kinds start together (A2)', async () => {
    const { clock, components, endpoints, close } = await world();
    const manager = new ParallelConnectionManager(UID, { ...components, servers: endpoints });
    const result = await clock.runUntil(manager.connectParallel({ enableRelay: true }));
    expect(result.report.attempts.map(({ startedAtMs }) => startedAtMs)).toEqual([0, 0, 0]);
    if (result.success) await clock.runUntil(result.session.close());
    await close();
  });

  test('several devices with its UID are told once, by whatever path, and in the log where nobody observes it (A8)', async () => {
    const { clock, internet, components, endpoints, close } = await world();
    const login = encodeMessage({ type: 'DEV_LGN', uid: UID, natType: 0, version: [4, 0, 0], local: undefined });
    const claimant = await internet.host().network.bindUdp({ onMessage: () => {} });
    for (let i = 0; i < 3; i++) {
      claimant.send(login, endpoints[0]!);
      await clock.advance(1_000);
    }
    await claimant.close();
    const warnings: string[] = [];
    const log = createLog(({ level, message }) => {
      if (level === 'warn' && message.includes(UID)) warnings.push(message);
    });
    const contested: ContestedUid[] = [];
    const onContested = (contest: ContestedUid) => {
      contested.push(contest);
      throw new Error('An observer that fails.');
    };
    const options = { target: UID, servers: endpoints };
    const observed = await clock.runUntil(connectCamera(UID, { ...components, ...options, log, onContested }));
    await clock.advance(10_000);
    expect([contested, warnings]).toEqual([[{ uid: UID, server: endpoints[0] }], []]);
    await clock.runUntil(observed.close());
    const silent = await clock.runUntil(connectCamera(UID, { ...components, ...options, log }));
    expect(warnings.length).toBeGreaterThan(0);
    await clock.runUntil(silent.close());
    await close();
  });

  test('a relay is used the moment it answers, and left for the direct path without losing a byte (A7)', async () => {
    const { clock, random, components, endpoints, emulator, close } = await world({ emulator: { itemCount: 12 } });
    const kinds: string[] = [];
    const connector = new RaceConnector(components, {
      target: UID,
      servers: endpoints,
      weights: { relay: 1, p2p: 0.1, lan: 0.1 },
    });
    const client = new CameraClient({ clock, random, connector });
    client.events.on('connected', ({ path }) => kinds.push(path.pathKind));
    await clock.runUntil(client.connectWithRetries());
    const received: number[] = [];
    const download = (async () => {
      for await (const { item, data } of client.download(emulator.items)) {
        expect(data?.length).toBeGreaterThan(100_000);
        received.push(item.mediaNum);
      }
    })();
    await clock.runUntil(download);
    expect(kinds).toEqual(['relay', 'p2p']);
    expect(client.path?.pathKind).toBe('p2p');
    expect(received.toSorted((a, b) => b - a)).toEqual(emulator.items.map(({ mediaNum }) => mediaNum));
    await clock.runUntil(client.close());
    await close();
  });

  test('the death of the relay in mid-download moves the session to the next server within 2 s, byte-exact (A7)', async () => {
    const made = await world({
      client: 'symmetricRandom',
      camera: 'symmetricRandom',
      servers: 2,
      emulator: { itemCount: 12 },
    });
    const { clock, random, components, endpoints, emulator, running, close } = made;
    const connector = new RaceConnector(components, { target: UID, servers: endpoints });
    const client = new CameraClient({ clock, random, connector });
    await clock.runUntil(client.connectWithRetries());
    expect(client.path?.pathKind).toBe('relay');
    let lostAt = 0;
    let backAt = 0;
    client.events.on('connected', () => {
      backAt = clock.now();
    });
    const sizes: (number | undefined)[] = [];
    const download = (async () => {
      for await (const { data } of client.download(emulator.items)) {
        sizes.push(data?.length);
        if (sizes.length !== 3) continue;
        const used = running.find(({ relay }) => relay.metrics.sessions > 0);
        used?.host.unplug();
        lostAt = clock.now();
      }
    })();
    await clock.runUntil(download);
    expect(lostAt).toBeGreaterThan(0);
    expect(backAt - lostAt).toBeLessThan(2_000);
    expect(sizes.length).toBe(12);
    expect(sizes.every((size) => size !== undefined && size > 100_000)).toBe(true);
    await clock.runUntil(client.close());
    await close();
  });

  test('a wrong secret, a camera that is offline, and servers that are away are told apart (A5)', async () => {
    const { clock, components, endpoints, close } = await world();
    const codesOf = async (uid: string, servers: typeof endpoints) => {
      const manager = new ParallelConnectionManager(uid, { ...components, servers, maxConnectionTime: 8 });
      const result = await clock.runUntil(manager.connectParallel({ enableRelay: true, enableLan: false }));
      expect(result.success).toBe(false);
      return result.report.attempts.map(({ error }) => error?.code);
    };
    expect(await codesOf('TEST-000002-BCDEF', endpoints)).toEqual(['device-offline', 'device-offline']);
    const away = [{ address: '198.51.100.99', port: 32_100 }];
    expect(await codesOf(UID, away)).toEqual(['server-unreachable', 'server-unreachable']);
    await close();
  });

  test('in any race with random NATs, delays and losses exactly one attempt ends in success, and nothing remains (A3)', async () => {
    for (let seed = 1; seed <= RACES; seed++) {
      const random = new SeededRandom(seed * 7_919);
      const pick = () => KINDS[random.integer(0, KINDS.length - 1)] ?? 'open';
      const made = await world({
        seed,
        client: pick(),
        camera: pick(),
        lossRatio: random.next() < 0.5 ? random.next() * 0.2 : 0,
        jitterMs: random.integer(0, 30),
      });
      const { clock, internet, components, endpoints, running, emulator, close } = made;
      const options: ConnectParallelOptions = { enableRelay: true };
      const abort = new AbortController();
      if (random.next() < 0.2) clock.timer(random.integer(0, 400), () => abort.abort(new Error('changed my mind')));
      const limit = random.next() < 0.2 ? random.integer(1, 600) / 1_000 : 10;
      const better: { session: { close(): Promise<void> } }[] = [];
      const improve = random.next() < 0.5 ? { offer: (other: (typeof better)[number]) => better.push(other) } : {};
      const manager = new ParallelConnectionManager(UID, {
        ...components,
        servers: endpoints,
        maxConnectionTime: limit,
      });
      const racing = manager.connectParallel({ ...options, ...improve, signal: abort.signal }).catch(() => undefined);
      const result = await clock.runUntil(racing);
      const states = Object.values(result?.threadsInfo ?? {}).map(({ state }) => state);
      const won = states.filter((state) => state === 'success').length;
      expect([seed, won]).toEqual([seed, result?.success ? 1 : 0]);
      expect([seed, states.filter((state) => state === 'running' || state === 'pending')]).toEqual([seed, []]);
      // Answers that come after the end must find nobody.
      await clock.advance(12_000);
      if (result?.success) await clock.runUntil(result.session.close());
      for (const { session } of better) await clock.runUntil(session.close());
      // Reservations die after 30 s and are swept away in the 30 s after that.
      await clock.advance(70_000);
      const held = running.map(({ relay }) => relay.metrics.sessions + relay.metrics.pendingReservations);
      expect([seed, held, emulator.sessions.length]).toEqual([seed, running.map(() => 0), 0]);
      await close();
      expect([seed, internet.openSockets, clock.pendingTimers]).toEqual([seed, 0, 0]);
    }
  }, 600_000);
});
