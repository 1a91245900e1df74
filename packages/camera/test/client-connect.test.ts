import { PathReason, TowpathError } from '@towpath/core';
import { describe, expect, test } from 'vitest';
import { CameraState, type CameraStateEvent, initialPhase, stepPhase } from '../src/client/camera-state.ts';
import { type Bench, bench, connectedBench, drain, failure, relayedBench, Wire } from './client-fixture.ts';

function states({ client }: Bench): string[] {
  const seen: string[] = [];
  client.events.on('state', ({ state }) => seen.push(state));
  return seen;
}

describe('camera states', () => {
  test.each<[CameraStateEvent[], string]>([
    [[], 'DISCONNECTED'],
    [['try'], 'DISCOVERING'],
    [['try', 'found'], 'DISCOVERED'],
    [['try', 'found', 'login'], 'AUTHENTICATING'],
    [['try', 'found', 'login', 'up'], 'CONNECTED'],
    [['try', 'try-failed'], 'DISCONNECTED'],
    [['try', 'found', 'login', 'try-failed'], 'DISCONNECTED'],
    [['try', 'try-failed', 'gave-up'], 'DISCONNECTED'],
    [['try', 'found', 'login', 'up', 'lost'], 'RECONNECTING'],
    [['try', 'found', 'login', 'up', 'lost', 'try'], 'RECONNECTING'],
    [['try', 'found', 'login', 'up', 'lost', 'try', 'found', 'login', 'try-failed'], 'RECONNECTING'],
    [['try', 'found', 'login', 'up', 'lost', 'try', 'found', 'login', 'up'], 'CONNECTED'],
    [['try', 'close', 'up', 'try'], 'CLOSED'],
  ])('after %j it is %s (B7)', (events, state) => {
    expect(events.reduce(stepPhase, initialPhase).state).toBe(state);
  });
});

describe('connectWithRetries', () => {
  test('passes through the named states in order, in under a second on a LAN (B7, B9)', async () => {
    const made = bench();
    const seen = states(made);
    expect(made.client.state).toBe(CameraState.DISCONNECTED);
    await made.clock.runUntil(made.client.connectWithRetries());
    expect(seen).toEqual(['DISCOVERING', 'DISCOVERED', 'AUTHENTICATING', 'CONNECTED']);
    expect(made.client.path?.report).toEqual({ connects: 1 });
    expect(made.clock.now()).toBeLessThan(1000);
    await made.client.close();
    expect(seen.at(-1)).toBe('CLOSED');
    await made.clock.advance(100);
    expect(made.clock.pendingTimers).toBe(0);
  });

  test('tries five times, 5 s each, with 1, 2, 4 and 8 s between, and says why it failed (B7)', async () => {
    const made = bench({ retry: { jitter: 0 } });
    made.camera.reachable = false;
    const failures: { tries: number; nextMs: number | undefined }[] = [];
    made.client.events.on('tryFailed', ({ tries, nextMs }) => failures.push({ tries, nextMs }));
    const error = await made.clock.runUntil(failure(made.client.connectWithRetries()));
    expect(error).toMatchObject({ code: 'connect-failed', target: '192.0.2.1' });
    expect(error.message).toContain('did not answer within 5 s');
    expect(failures.map(({ nextMs }) => nextMs)).toEqual([1000, 2000, 4000, 8000, undefined]);
    expect(made.clock.now()).toBe(5 * 5000 + 15_000);
    expect(made.client.state).toBe('DISCONNECTED');
    expect(made.clock.pendingTimers).toBe(0);
  });

  test('says what to do when there was no time for even one try (B7)', async () => {
    const made = bench({ retry: { limitMs: 2000 } });
    made.camera.reachable = false;
    const error = await made.clock.runUntil(failure(made.client.connectWithRetries()));
    expect(error).toMatchObject({ code: 'connect-failed' });
    expect(error.message).toBe(
      '192.0.2.1 was not reached in 2.0 s. Next: wake the camera, join its network, or increase the time limit.',
    );
  });

  test('varies the waits by up to a tenth (B7)', async () => {
    const made = bench();
    made.camera.reachable = false;
    const waits: number[] = [];
    made.client.events.on('tryFailed', ({ nextMs }) => waits.push(nextMs ?? 0));
    await made.clock.runUntil(failure(made.client.connectWithRetries()));
    for (const [n, base] of [1000, 2000, 4000, 8000].entries()) {
      expect(Math.abs(waits[n]! - base)).toBeLessThanOrEqual(base / 10);
      expect(waits[n]).not.toBe(base);
    }
  });

  test('takes at most 90 s in all, or what it is told (B7)', async () => {
    for (const [retry, limitMs] of [
      [{ tries: 100 }, 90_000],
      [{ tries: 100, limitMs: 12_000 }, 12_000],
    ] as const) {
      const made = bench();
      made.camera.reachable = false;
      expect(await made.clock.runUntil(failure(made.client.connectWithRetries(retry)))).toMatchObject({
        code: 'connect-failed',
      });
      expect(made.clock.now()).toBeLessThanOrEqual(limitMs);
      expect(made.clock.now()).toBeGreaterThan(limitMs - 22_000);
      expect(made.clock.pendingTimers).toBe(0);
    }
  });

  test('succeeds on a later try, and can be called again after it failed (B7)', async () => {
    const made = bench();
    made.camera.silent.add(0);
    expect(await made.clock.runUntil(failure(made.client.connectWithRetries({ tries: 2 })))).toMatchObject({
      code: 'connect-failed',
      cause: { code: 'login-failed' },
    });
    const again = made.client.connectWithRetries();
    await made.clock.advance(500);
    made.camera.silent.clear();
    await made.clock.runUntil(again);
    expect(made.client.state).toBe('CONNECTED');
    expect(made.camera.connects).toBe(4);
    for (const session of made.camera.sessions.slice(0, -1)) expect(session.closed).toBe('closed-by-peer');
  });

  test('is shared by callers who ask at the same time, and does nothing when connected (B7)', async () => {
    const { clock, camera, client } = bench();
    await clock.runUntil(Promise.all([client.connectWithRetries(), client.connectWithRetries()]));
    await client.connectWithRetries();
    expect(camera.connects).toBe(1);
  });

  test('closes everything when it is aborted, at any moment (B7)', async () => {
    for (const afterMs of [0, 5, 12, 22, 30, 3000, 5500]) {
      const made = bench();
      if (afterMs > 1000) made.camera.reachable = false;
      made.camera.silent.add(0);
      const abort = new AbortController();
      const connecting = failure(made.client.connectWithRetries({ signal: abort.signal }));
      await made.clock.advance(afterMs);
      abort.abort(new Error('changed my mind'));
      expect((await made.clock.runUntil(connecting)).message).toBe('changed my mind');
      await made.clock.advance(100);
      expect(made.clock.pendingTimers).toBe(0);
      expect(made.client.state).toBe('DISCONNECTED');
      for (const session of made.camera.sessions) expect(session.closed).toBeDefined();
    }
  });

  test('fails with client-closed when the client is closed meanwhile, and ever after (B7)', async () => {
    const { clock, camera, client } = bench();
    camera.reachable = false;
    const connecting = failure(client.connectWithRetries());
    await clock.advance(1000);
    await client.close();
    expect(await clock.runUntil(connecting)).toMatchObject({ code: 'client-closed' });
    expect(await failure(client.connectWithRetries())).toMatchObject({ code: 'client-closed' });
    expect(await failure(client.deviceInfo())).toMatchObject({ code: 'client-closed' });
    await client.close();
    expect(client.state).toBe('CLOSED');
    expect(clock.pendingTimers).toBe(0);
  });

  test('is needed before any command (B3)', async () => {
    const { client } = bench();
    expect(await failure(client.deviceInfo())).toMatchObject({ code: 'not-logged-in' });
    expect(await failure(drain(client.live()))).toMatchObject({ code: 'not-logged-in' });
  });
});

describe('reconnect', () => {
  test('is back within 10 s of the return of a network that was gone for 30 s, with login and heartbeat (B5)', async () => {
    for (const goneMs of [30_000, 31_700, 33_300, 600_000]) {
      const made = await connectedBench();
      const { clock, camera, client } = made;
      const seen = states(made);
      await clock.advance(10_000);
      camera.wire.cut();
      await clock.advance(goneMs);
      expect(client.state).toBe('RECONNECTING');
      const back = client.events.once('connected');
      camera.wire.restore();
      const returnedAt = clock.now();
      expect(await clock.runUntil(back)).toMatchObject({ reconnect: true, replaced: false });
      expect(clock.now() - returnedAt).toBeLessThan(10_000);
      expect(seen[0]).toBe('RECONNECTING');
      const before = camera.count(525);
      await clock.advance(9100);
      expect(camera.count(525) - before).toBe(3);
      expect(camera.requests.filter(({ json }) => json.cmdId === 525).at(-1)!.seq).toBe(65_539);
      await client.close();
    }
  });

  test('lets a download go on at the item, without the caller doing anything (B5, B13)', async () => {
    const { clock, camera, client } = await connectedBench();
    camera.fill(20, 2000);
    camera.itemMs = 200;
    const results = drain(client.download(camera.items));
    await clock.advance(1100);
    camera.wire.cut();
    await clock.advance(30_000);
    camera.wire.restore();
    const returnedAt = clock.now();
    const received = await clock.runUntil(results);
    expect(received.map(({ item, data }) => [item.mediaNum, Buffer.compare(data!, item.data)])).toEqual(
      camera.items.map(({ mediaNum }) => [mediaNum, 0]),
    );
    expect(clock.now() - returnedAt).toBeLessThan(10_000);
    const asked = camera.requests
      .filter(({ json }) => json.cmdId === 1285)
      .map(({ json }) => json.downloadReqs as unknown[]);
    expect(asked[0]).toHaveLength(16);
    expect(asked[1]!.length).toBeLessThan(16);
  });

  test('survives a reboot of the camera in mid-download (B5)', async () => {
    const { clock, camera, client } = await connectedBench();
    camera.fill(10, 2000);
    camera.itemMs = 300;
    const results = drain(client.download(camera.items));
    await clock.advance(1000);
    // The old session is unknown to the new boot: nothing answers on it any more, and no CLOSE was sent.
    camera.wire.cut();
    camera.wire = new Wire(clock, 5);
    camera.token = 8002;
    camera.reachable = false;
    await clock.advance(6000);
    camera.reachable = true;
    expect(await clock.runUntil(results)).toHaveLength(10);
    expect(camera.sessions).toHaveLength(2);
  });

  test('notices a silent camera within about 3 s while it owes data, not after 8 (B5)', async () => {
    const { clock, camera, client } = await connectedBench();
    camera.fill(20, 2000);
    camera.itemMs = 200;
    drain(client.download(camera.items)).catch(() => {});
    await clock.advance(1000);
    camera.wire.cut();
    const cutAt = clock.now();
    const error = await clock.runUntil(client.events.once('lost'));
    expect(error).toMatchObject({ code: 'session-closed', details: { reason: 'silent' } });
    expect(clock.now() - cutAt).toBeLessThan(3100);
    await client.close();
  });

  test('repeats a reading command whose session ended under it (B5)', async () => {
    const { clock, camera, client } = await connectedBench();
    camera.silent.add(512);
    const info = client.deviceInfo();
    await clock.advance(50);
    camera.silent.clear();
    await camera.session.close();
    expect(await clock.runUntil(info)).toMatchObject({ devId: '00:11:22:33:44:55' });
  });

  test('does not repeat a deletion (B5)', async () => {
    const { clock, camera, client } = await connectedBench();
    camera.silent.add(773);
    const deletion = failure(client.deleteItem({ fileType: 0, dirNum: 100, mediaNum: 1 }));
    await clock.advance(50);
    await camera.session.close();
    expect(await clock.runUntil(deletion)).toMatchObject({ code: 'session-closed' });
    expect(camera.count(773)).toBe(1);
  });

  test('slows down when the camera ends every session at once (B5)', async () => {
    const { clock, camera, client } = await connectedBench();
    client.events.on('connected', () => {
      camera.session.close().catch(() => {});
    });
    await camera.session.close();
    await clock.advance(60_000);
    expect(camera.connects).toBeGreaterThan(5);
    expect(camera.connects).toBeLessThan(50);
    await client.close();
    await clock.advance(1000);
    expect(clock.pendingTimers).toBe(0);
  });

  test('tries at once when it is told that the network is back (B5)', async () => {
    const { clock, camera, client } = bench();
    await clock.runUntil(client.connectWithRetries());
    camera.reachable = false;
    await camera.session.close();
    await clock.runUntil(client.events.once('tryFailed'));
    camera.reachable = true;
    const startedAt = clock.now();
    client.refresh(PathReason.networkChanged);
    await clock.runUntil(client.events.once('connected'));
    expect(clock.now() - startedAt).toBeLessThan(100);
  });

  test('after five lost heartbeats starts by itself (B4)', async () => {
    const { clock, client } = await connectedBench();
    const carrier = client.path!.artemis.carrier as { bufferedBytes(channel: number): number };
    carrier.bufferedBytes = () => 10_000;
    const startedAt = clock.now();
    const lost = client.events.once('lost');
    const back = client.events.once('connected');
    await clock.runUntil(back);
    expect((await lost).message).toContain('5 heartbeats');
    expect(clock.now() - startedAt).toBeGreaterThan(14_000);
    expect(clock.now() - startedAt).toBeLessThan(20_000);
  });
});

describe('a better path', () => {
  test('takes over without a gap: the running item ends on the old one, the rest comes over the new (A9, B5)', async () => {
    const { clock, camera, client } = await relayedBench();
    camera.fill(12, 50_000);
    camera.itemMs = 100;
    const old = client.path!;
    const seen: string[] = [];
    client.events.on('state', ({ state }) => seen.push(state));
    const results = drain(client.download(camera.items));
    await clock.advance(450);
    camera.lastOptions!.offer!({ session: camera.open(new Wire(clock, 1), 'lan'), report: 'better' });
    const received = await clock.runUntil(results);
    expect(received.map(({ item }) => item.mediaNum)).toEqual(camera.items.map(({ mediaNum }) => mediaNum));
    expect(client.path?.report).toBe('better');
    await clock.advance(6000);
    expect(old.artemis.closed).toBeDefined();
    expect(camera.lastOptions!.signal.aborted).toBe(false);
    expect(seen).toEqual([]);
    expect(await clock.runUntil(client.deviceInfo())).toMatchObject({ batPercent: 42 });
    await client.close();
    expect(camera.lastOptions!.signal.aborted).toBe(true);
  });

  test('that comes while the login on the first is still under way is taken as soon as that is done (A7)', async () => {
    const { clock, camera, client } = bench();
    camera.pathKind = 'relay';
    const connecting = client.connectWithRetries();
    while (camera.lastOptions === undefined) await clock.advance(1);
    camera.lastOptions.offer!({ session: camera.open(camera.wire, 'lan'), report: 'better' });
    await clock.runUntil(connecting);
    await clock.advance(500);
    expect(client.path?.report).toBe('better');
    await client.close();
  });

  test('carries a live stream over (B5)', async () => {
    const { clock, camera, client } = await relayedBench();
    const numbers: number[] = [];
    (async () => {
      for await (const { frameNumber } of client.live()) numbers.push(frameNumber);
    })().catch(() => {});
    await clock.advance(50);
    camera.live(1, { keyFrame: true });
    await clock.advance(20);
    camera.lastOptions!.offer!({ session: camera.open(camera.wire, 'lan') });
    await clock.advance(500);
    camera.live(2, { keyFrame: true });
    await clock.advance(50);
    expect(numbers).toEqual([1, 2]);
    expect(camera.sessions[0]!.closed).toBeDefined();
    await client.close();
  });

  test('is refused when its login fails or the link has moved on, and closed (B5)', async () => {
    const { clock, camera, client } = await relayedBench();
    const path = client.path;
    const { offer } = camera.lastOptions!;
    camera.silent.add(0);
    offer!({ session: camera.open(camera.wire, 'lan') });
    await clock.advance(3000);
    expect(camera.session.closed).toBe('closed-by-peer');
    expect(client.path).toBe(path);
    camera.silent.clear();
    await camera.sessions[0]!.close();
    await clock.runUntil(client.events.once('connected'));
    const late = camera.open(camera.wire, 'lan');
    offer!({ session: late });
    await clock.advance(100);
    expect(late.closed).toBeDefined();
    await client.close();
    await clock.advance(1000);
    expect(clock.pendingTimers).toBe(0);
  });
});

test('an error of the connector reaches the caller as the cause (B7)', async () => {
  const broken = new TowpathError('no-way', 'There is no way at all.');
  const { clock, client } = bench({}, { connector: { connect: () => Promise.reject(broken) } });
  const error = await clock.runUntil(failure(client.connectWithRetries({ tries: 1 })));
  expect(error).toMatchObject({ code: 'connect-failed', cause: broken });
  expect(error.message).toContain('There is no way at all.');
});
