import { createLog, PathHistory, RaceStatistics, SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { type SimulatedLinkOptions, SimulatedInternet } from '@towpath/net/simulated';
import type { PpppSession } from '@towpath/pppp';
import { PpppDevice, type PpppDeviceOptions } from '@towpath/pppp/device';
import { describe, expect, test } from 'vitest';
import { DEFAULT_UID, RaceConnector } from '../src/index.ts';
import { DEFAULT_LAN_PORTS } from '../src/compat/config.ts';
import { ParallelConnectionManager } from '../src/compat/parallel-connection-manager.ts';

const CAMERA = '192.168.43.1';

async function world(
  options: { link?: SimulatedLinkOptions; device?: Partial<PpppDeviceOptions>; icmpErrors?: boolean } = {},
) {
  const clock = new VirtualClock();
  const internet = new SimulatedInternet(
    { clock, random: new SeededRandom(1) },
    { icmpErrors: options.icmpErrors ?? false },
  );
  const lan = internet.lan({ subnet: '192.168.43.0/24', link: { delayMs: 1, ...options.link } });
  const cameraHost = lan.host({ address: CAMERA });
  const phone = lan.host({ address: '192.168.43.20' });
  const sessions: PpppSession[] = [];
  const device = await PpppDevice.open(
    { network: cameraHost.network, clock },
    {
      uid: DEFAULT_UID,
      listenPort: 40_611,
      onSession: (session) => {
        sessions.push(session);
        session.attach({ onData: () => {} });
      },
      ...options.device,
    },
  );
  const lines: string[] = [];
  const components = { network: phone.network, clock, random: new SeededRandom(2) };
  const manager = new ParallelConnectionManager(CAMERA, {
    ...components,
    logger: createLog(({ level, scope, message }) => lines.push(`${level} [${scope}] ${message}`)),
  });
  /** The camera is off, or asleep: nothing is refused, nothing is answered. */
  const switchOff = async () => {
    await clock.runUntil(device.close());
    cameraHost.firewall.options = { policy: 'closed' };
  };
  return { clock, internet, phone, device, sessions, manager, lines, components, switchOff };
}

describe('parallel connection manager', () => {
  test('reaches the camera and says how (A1, A4, A5)', async () => {
    const { clock, manager, internet, device } = await world();
    const result = await clock.runUntil(manager.connectParallel());
    if (!result.success) throw new Error(result.error);
    expect(result).toMatchObject({
      success: true,
      destinationPort: 40_611,
      mode: 'p2p',
      winningThread: 'p2pConnectThread',
    });
    expect(result.port).toBe(result.session.local.port);
    expect(result.elapsedTime).toBeGreaterThan(0);
    expect(result.elapsedTime).toBeLessThan(0.05);
    expect(result.threadsInfo.p2pConnectThread).toMatchObject({
      mode: 'p2p',
      state: 'success',
      port: result.port,
      error: null,
    });
    expect(result.threadsInfo.lanConnectThread).toMatchObject({ mode: 'lan', state: 'cancelled', error: null });
    expect(result.threadsInfo.lanConnectThread.port).toBeGreaterThan(0);
    expect(result.threadsInfo.relayConnectThread).toEqual({
      mode: 'relay',
      state: 'not_started',
      port: null,
      retries: 0,
      elapsed: null,
      error: null,
    });
    await clock.runUntil(result.session.close());
    await clock.advance(10_000);
    await clock.runUntil(device.close());
    expect([internet.openSockets, clock.pendingTimers]).toEqual([0, 0]);
  });

  test.each([0, 20, 100])(
    'does not take longer for a camera on any of six ports, round trip %i ms (A2)',
    async (rttMs) => {
      for (const port of DEFAULT_LAN_PORTS) {
        const { clock, manager, device } = await world({
          // Each way crosses the links of two hosts.
          link: { delayMs: rttMs / 4 },
          device: { listenPort: port, searchPort: false },
        });
        const result = await clock.runUntil(manager.connectParallel());
        expect(result).toMatchObject({ success: true, destinationPort: port });
        expect(result.elapsedTime * 1_000).toBeLessThanOrEqual(2 * rttMs + 15);
        if (result.success) await clock.runUntil(result.session.close());
        await clock.runUntil(device.close());
      }
    },
  );

  test('a port that another attempt found first leaves no second session behind (A3)', async () => {
    const { clock, manager, sessions } = await world({ link: { delayMs: 5, jitterMs: 4 } });
    const result = await clock.runUntil(manager.connectParallel());
    await clock.advance(1_000);
    const alive = sessions.filter(({ closed }) => closed === undefined);
    expect(alive.length).toBe(1);
    expect(alive[0]?.peer.port).toBe(result.success && result.port);
  });

  test('tries 40611 first, and reaches 32100 next when 40611 is blocked (B8)', async () => {
    const both = await world();
    const second = await PpppDevice.open(
      { network: both.internet.lan().host().network, clock: both.clock },
      {
        uid: DEFAULT_UID,
        listenPort: 32_100,
        onSession: () => {},
      },
    );
    const first = await both.clock.runUntil(both.manager.connectParallel());
    expect(first).toMatchObject({ success: true, destinationPort: 40_611 });
    await both.clock.runUntil(second.close());

    const blocked = await world({ device: { listenPort: 32_100, searchPort: false } });
    const result = await blocked.clock.runUntil(blocked.manager.connectParallel());
    expect(result).toMatchObject({ success: true, destinationPort: 32_100 });
    const order = result.report.attempts
      .filter(({ kind }) => kind === 'p2p')
      .toSorted((a, b) => (a.startedAtMs ?? 1e9) - (b.startedAtMs ?? 1e9))
      .map(({ label }) => Number(label.split(':').at(-1)));
    expect(order.slice(0, 2)).toEqual([40_611, 32_100]);
  });

  test('says why each kind failed, within the time, and leaves nothing open (A5, A6)', async () => {
    const { clock, internet, components, switchOff } = await world();
    await switchOff();
    const manager = new ParallelConnectionManager(CAMERA, { ...components, maxConnectionTime: 3 });
    const result = await clock.runUntil(manager.connectParallel());
    if (result.success) throw new Error('nobody is there');
    expect(result.elapsedTime).toBe(3);
    expect(clock.now()).toBeLessThanOrEqual(3_000);
    for (const thread of [result.threadsInfo.p2pConnectThread, result.threadsInfo.lanConnectThread]) {
      expect(thread.state).toBe('failed');
      expect(thread.error).toContain('40611');
      expect(thread.port).toBeGreaterThan(0);
    }
    expect(result.error).toContain('Next:');
    expect(internet.openSockets).toBe(0);
    // What still runs are the simulator's own timers of the CLOSEs on their way.
    await clock.advance(5);
    expect(clock.pendingTimers).toBe(0);
  });

  test('fails at once when every port is refused (A6)', async () => {
    const { clock, components, device } = await world({ icmpErrors: true });
    await clock.runUntil(device.close());
    const manager = new ParallelConnectionManager(CAMERA, components);
    const result = await clock.runUntil(manager.connectParallel({ enableLan: false }));
    expect(result.success).toBe(false);
    expect(result.elapsedTime).toBeLessThan(1);
    expect(result.threadsInfo.p2pConnectThread.error).toMatch(/refuse|nothing listens/i);
  });

  test('says what the relay lacks when it was to run without servers (A5, A7)', async () => {
    const { clock, manager } = await world();
    const result = await clock.runUntil(manager.connectParallel({ enableRelay: true }));
    if (!result.success) throw new Error(result.error);
    expect(result.threadsInfo.relayConnectThread).toMatchObject({ state: 'failed', port: null });
    expect(result.threadsInfo.relayConnectThread.error).toContain('rendezvous servers');
    await clock.runUntil(result.session.close());
  });

  test('an abort closes every socket and timer before it is reported (A6)', async () => {
    const { clock, internet, manager, switchOff } = await world();
    await switchOff();
    const abort = new AbortController();
    clock.timer(500, () => abort.abort(new Error('changed my mind')));
    await expect(clock.runUntil(manager.connectParallel({ signal: abort.signal }))).rejects.toThrow('changed my mind');
    expect(internet.openSockets).toBe(0);
    await clock.advance(5);
    expect(clock.pendingTimers).toBe(0);
  });

  test.each([
    [{ enableP2p: false }, 'lanConnectThread', 'p2pConnectThread'],
    [{ enableLan: false }, 'p2pConnectThread', 'lanConnectThread'],
  ] as const)('a kind that is off is not started: %o (A3)', async (options, winner, off) => {
    const { clock, manager } = await world();
    const result = await clock.runUntil(manager.connectParallel(options));
    expect(result).toMatchObject({ success: true, winningThread: winner });
    expect(result.threadsInfo[off].state).toBe('not_started');
  });

  test('with every kind off it says what to switch on', async () => {
    const { clock, manager } = await world();
    const result = await clock.runUntil(manager.connectParallel({ enableLan: false, enableP2p: false }));
    expect(result).toMatchObject({ success: false, error: expect.stringContaining('enable at least one') });
  });

  test('a running attempt always has a port, whenever one looks; one socket serves the camera (A4, C8)', async () => {
    const { clock, manager } = await world({ link: { delayMs: 20 } });
    const ports: (number | undefined)[] = [];
    const connecting = manager.connectParallel({
      onProgress: ({ type, attempt }) => {
        if (type === 'noted') ports.push(attempt.localPort);
      },
    });
    const result = await clock.runUntil(connecting);
    expect(ports.length).toBeGreaterThanOrEqual(12);
    expect(ports.every((port) => port !== undefined && port > 0)).toBe(true);
    expect(new Set(ports).size).toBe(1);
    expect(result.success).toBe(true);
  });

  test('leaves from the remembered local port, which a camera with a firewall insists on (B6)', async () => {
    let first: string | undefined;
    const { clock, manager, sessions } = await world({
      device: {
        admits: ({ address, port }) => {
          first ??= `${address}:${port}`;
          return first === `${address}:${port}`;
        },
      },
    });
    const one = await clock.runUntil(manager.connectParallel());
    if (!one.success) throw new Error(one.error);
    const remembered = { kind: one.mode, localPort: one.port, destinationPort: one.destinationPort };
    await clock.runUntil(one.session.close());
    await clock.advance(1_000);
    const fresh = await clock.runUntil(
      new Promise<boolean>((resolve, reject) => {
        const attempt = manager.connectParallel({ signal: AbortSignal.any([deadline(clock, 2_000)]) });
        attempt.then(
          ({ success }) => resolve(success),
          (error) => (error instanceof Error ? resolve(false) : reject(error)),
        );
      }),
    );
    expect(fresh).toBe(false);
    const two = await clock.runUntil(manager.connectParallel({ remembered }));
    expect(two).toMatchObject({ success: true, port: one.port });
    expect(sessions.length).toBe(2);
  });

  test('takes a fresh port and logs why when the remembered one is taken (B6)', async () => {
    const { clock, manager, phone, lines } = await world();
    const taken = await phone.network.bindUdp({ port: 45_000, onMessage: () => {} });
    const remembered = { kind: 'p2p', localPort: 45_000, destinationPort: 40_611 } as const;
    const result = await clock.runUntil(manager.connectParallel({ remembered, enableLan: false }));
    expect(result.success && result.port).not.toBe(45_000);
    expect(result.success).toBe(true);
    expect(lines.filter((line) => line.startsWith('warn')).join()).toContain('45000');
    await taken.close();
  });

  test('tells the story of a race in order, by scope (A12)', async () => {
    const { clock, manager, lines } = await world();
    await clock.runUntil(manager.connectParallel());
    const story = [
      'info [CONNECT] Starting parallel connection attempt',
      'debug [CONNECT] Started thread: p2pConnectThread',
      'debug [P2P] Attempt 1: local_port=',
      'info [CONNECT] p2p won to 192.168.43.1:40611',
      'info [CONNECT] Parallel connection attempt completed',
      'info [P2P] ✓ P2P connection succeeded',
    ].map((start) => lines.findIndex((line) => line.startsWith(start)));
    expect(story).not.toContain(-1);
    expect(story).toEqual(story.toSorted((a, b) => a - b));
    expect(lines.some((line) => line.startsWith('debug [LAN] Attempt'))).toBe(true);
  });

  test.each([
    ['camera.local', {}, 'not an IP address'],
    [CAMERA, { destinationPorts: [0] }, 'not a port'],
    [CAMERA, { maxConnectionTime: 0 }, 'seconds'],
  ])('refuses what cannot be meant: %s %o', (address, options, message) => {
    expect(() => new ParallelConnectionManager(address, options)).toThrow(message);
  });
});

describe('weights of path kinds', () => {
  const startOf = (
    result: { report: { attempts: readonly { kind: string; startedAtMs: number | undefined }[] } },
    kind: string,
  ) => result.report.attempts.find((one) => one.kind === kind)?.startedAtMs;

  test('order and delay the kinds (A9)', async () => {
    const { clock, components, device } = await world();
    await clock.runUntil(device.close());
    const manager = new ParallelConnectionManager(CAMERA, {
      ...components,
      maxConnectionTime: 2,
      modeWeights: { lan: 1, p2p: 0.5 },
    });
    const result = await clock.runUntil(manager.connectParallel());
    expect([startOf(result, 'lan'), startOf(result, 'p2p')]).toEqual([0, 125]);
  });

  test('without any, all kinds start together (A9)', async () => {
    const { clock, manager } = await world({ link: { delayMs: 20 } });
    const result = await clock.runUntil(manager.connectParallel());
    expect([startOf(result, 'lan'), startOf(result, 'p2p')]).toEqual([0, 0]);
  });

  test('are learnt from what succeeded for this target, and a dead favourite costs little (A9)', async () => {
    const { clock, components } = await world();
    const history = new PathHistory({ clock });
    const options = { ...components, history };
    for (let n = 0; n < 4; n++) {
      const result = await clock.runUntil(
        new ParallelConnectionManager(CAMERA, options).connectParallel({ enableLan: false }),
      );
      if (result.success) await clock.runUntil(result.session.close());
      history.failed('lan');
    }
    const again = await clock.runUntil(new ParallelConnectionManager(CAMERA, options).connectParallel());
    expect(again).toMatchObject({ success: true, mode: 'p2p' });
    for (let n = 0; n < 40; n++) history.succeeded('lan', 10);
    const onlyP2p = new ParallelConnectionManager(CAMERA, { ...options, searchPort: 9, destinationPorts: [40_611] });
    const late = await clock.runUntil(onlyP2p.connectParallel({ enableLan: false }));
    expect(late.elapsedTime).toBeLessThan(0.3);
  });

  test('a race teaches: the winner counts as a success, kinds that had failed on their own as failures (A9, A10)', async () => {
    const { clock, components } = await world({ icmpErrors: true, device: { searchPort: false } });
    const history = new PathHistory({ clock });
    const statistics = new RaceStatistics();
    const manager = new ParallelConnectionManager(CAMERA, { ...components, history, statistics });
    const result = await clock.runUntil(manager.connectParallel({ enableLan: false }));
    expect(result.success).toBe(true);
    expect(history.snapshot().p2p).toMatchObject({ tries: 1, wins: 1 });
    expect(statistics.snapshot().p2p).toMatchObject({ wins: 1 });
    expect(statistics.snapshot().p2p?.attempts).toBeGreaterThanOrEqual(1);
  });

  test('time limits follow what the kind took before, within bounds (A8)', async () => {
    const { clock, components, switchOff } = await world();
    await switchOff();
    const history = new PathHistory({ clock });
    history.succeeded('p2p', 20);
    const manager = new ParallelConnectionManager(CAMERA, { ...components, history });
    const quick = await clock.runUntil(manager.connectParallel({ enableLan: false }));
    expect(quick.elapsedTime).toBeCloseTo(3, 1);
    expect(quick.threadsInfo.p2pConnectThread.error).toContain('3000 ms');
    const slow = new PathHistory({ clock });
    slow.succeeded('p2p', 400);
    const patient = new ParallelConnectionManager(CAMERA, { ...components, history: slow });
    expect((await clock.runUntil(patient.connectParallel({ enableLan: false }))).elapsedTime).toBeCloseTo(8, 1);
  });

  test('a weight that is no number from 0 on is refused', () => {
    expect(() => new ParallelConnectionManager(CAMERA, { modeWeights: { p2p: -1 } })).toThrow('weight of p2p');
  });
});

describe('race connector', () => {
  test('finds a camera again whose firewall admitted an attempt that did not win (B6)', async () => {
    let admitted: number | undefined;
    let deaf = true;
    const { clock, components } = await world({
      device: {
        admits: ({ port }) => {
          admitted ??= port;
          return !deaf && admitted === port;
        },
      },
    });
    const connector = new RaceConnector(components, { target: CAMERA });
    const { signal } = new AbortController();
    const first = connector.connect({ signal, limitMs: 3_000 });
    await expect(clock.runUntil(first)).rejects.toMatchObject({ code: 'connect-failed' });
    deaf = false;
    const { session } = await clock.runUntil(connector.connect({ signal, limitMs: 3_000 }));
    expect(session.local.port).toBe(admitted);
    await clock.runUntil(session.close());
  });

  test('a camera that ignores the ports of the first tries is reached from fresh ones (B6)', async () => {
    const ignored = new Set<number>();
    let tries = 0;
    const { clock, components } = await world({
      device: {
        searchPort: false,
        admits: ({ port }) => {
          if (tries <= 4) ignored.add(port);
          return !ignored.has(port);
        },
      },
    });
    const connector = new RaceConnector(components, { target: CAMERA });
    const { signal } = new AbortController();
    for (tries = 1; tries <= 4; tries++) {
      const outcome = connector.connect({ signal, limitMs: 500 });
      await expect(clock.runUntil(outcome)).rejects.toMatchObject({ code: 'connect-failed' });
    }
    const { session } = await clock.runUntil(connector.connect({ signal, limitMs: 500 }));
    expect(ignored.has(session.local.port)).toBe(false);
    await clock.runUntil(session.close());
  });
});

function deadline(clock: VirtualClock, ms: number): AbortSignal {
  const abort = new AbortController();
  clock.timer(ms, () => abort.abort(new Error('too late')));
  return abort.signal;
}
