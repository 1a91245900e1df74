import type { Endpoint } from '@towpath/net';
import { describe, expect, test } from 'vitest';
import { AttemptSocket, connectByLanSearch, connectDirect, type PpppSession, searchLan } from '../src/index.ts';
import { type Hotspot, hotspot, LISTEN_PORT, startDevice, switchOff, UID } from './device-lan.ts';

const ADDRESS = '192.168.43.1';
const PORTS = [LISTEN_PORT, 32_100, 10_000];

/** A search and direct attempts on several ports, twice each, as a race has them; the first session wins. */
async function connect({ clock, phone }: Hotspot, ports: readonly number[] = PORTS): Promise<PpppSession> {
  const { network } = phone;
  const race = new AbortController();
  const socket = new AttemptSocket({ network, clock });
  const common = { network, clock, socket, signal: race.signal, timeoutMs: 5_000 };
  const hosts = [{ address: ADDRESS, port: 32_108 }];
  const attempts = [
    connectByLanSearch({ ...common, uid: UID, hosts, broadcast: false }),
    ...[...ports, ...ports].map((port) => connectDirect({ ...common, uid: UID, to: { address: ADDRESS, port } })),
  ];
  const session = await clock.runUntil(Promise.any(attempts));
  race.abort(new Error('the race is over'));
  await clock.runUntil(Promise.allSettled(attempts));
  return session;
}

async function expectNothingLeft({ clock, internet }: Hotspot): Promise<void> {
  await clock.advance(2_000);
  expect(internet.openSockets).toBe(0);
  expect(clock.pendingTimers).toBe(0);
}

describe('several attempts on one socket (C8)', () => {
  test('open one session from one port, also with a device that holds but one, and leave it alone afterwards', async () => {
    const spot = hotspot({ delayMs: 3 });
    const { device, sessions } = await startDevice(spot, { maxSessions: 1 });
    for (let round = 1; round <= 6; round++) {
      const before = spot.sent.length;
      const session = await connect(spot);
      await spot.clock.advance(3_000);
      expect([session.closed, sessions.length, sessions.at(-1)?.closed]).toEqual([undefined, round, undefined]);
      const senders = spot.sent.slice(before).filter(({ from }) => from.startsWith(spot.phone.address));
      expect([...new Set(senders.map(({ from }) => from))]).toHaveLength(1);
      await spot.clock.runUntil(session.close());
      await spot.clock.advance(100);
    }
    await spot.clock.runUntil(device.close());
    await expectNothingLeft(spot);
  });

  test('reach a device whose port only the search finds', async () => {
    const spot = hotspot();
    const { device, sessions } = await startDevice(spot, { maxSessions: 1, listenPort: 45_000 });
    const session = await connect(spot);
    expect([session.peer.port, sessions.length]).toEqual([45_000, 1]);
    await spot.clock.runUntil(Promise.all([session.close(), device.close()]));
    await expectNothingLeft(spot);
  });

  test('when one ends, another that wants the same address goes on with it', async () => {
    const spot = hotspot();
    switchOff(spot);
    const { clock, phone } = spot;
    const { network } = phone;
    const socket = new AttemptSocket({ network, clock });
    const to = { address: ADDRESS, port: LISTEN_PORT };
    const common = { network, clock, socket, uid: UID, to };
    const first = connectDirect({ ...common, timeoutMs: 500 });
    const second = connectDirect({ ...common, timeoutMs: 5_000 });
    await expect(clock.runUntil(first)).rejects.toMatchObject({ code: 'no-answer' });
    const { device } = await startDevice(spot);
    const session = await clock.runUntil(second);
    await clock.runUntil(Promise.all([session.close(), device.close()]));
    await expectNothingLeft(spot);
  });

  test('outside of a race, those that have not won end as well', async () => {
    const spot = hotspot();
    const { clock, phone } = spot;
    const { network } = phone;
    const { device } = await startDevice(spot);
    const socket = new AttemptSocket({ network, clock });
    const common = { network, clock, socket, uid: UID };
    const winning = connectDirect({ ...common, to: { address: ADDRESS, port: LISTEN_PORT } });
    const losing = connectDirect({ ...common, to: { address: ADDRESS, port: 10_000 } });
    const session = await clock.runUntil(winning);
    await expect(clock.runUntil(losing)).rejects.toMatchObject({ code: 'aborted' });
    await expect(clock.runUntil(connectDirect({ ...common, to: session.peer }))).rejects.toMatchObject({
      code: 'aborted',
    });
    await clock.advance(500);
    expect(session.closed).toBeUndefined();
    await clock.runUntil(Promise.all([session.close(), device.close()]));
    await expectNothingLeft(spot);
  });
});

test('a device that returns every punch is punched a handful of times (C8)', async () => {
  const spot = hotspot({ delayMs: 0.1 });
  const { clock, camera, phone, sent } = spot;
  let echoed = 0;
  await using echo = await camera.network.bindUdp({
    port: LISTEN_PORT,
    onMessage: (data, from) => {
      if (++echoed < 5_000) echo.send(data, from);
    },
  });
  const to = { address: ADDRESS, port: LISTEN_PORT };
  for (const connecting of [
    () => connectDirect({ network: phone.network, clock, uid: UID, to, timeoutMs: 6_000 }),
    () =>
      connectByLanSearch({ network: phone.network, clock, uid: UID, hosts: [to], broadcast: false, timeoutMs: 6_000 }),
  ]) {
    const before = echoed;
    await expect(clock.runUntil(connecting())).rejects.toMatchObject({ code: 'no-answer' });
    const ofSearch = sent.filter(({ hex }) => hex === 'f1300000').length;
    expect(echoed - before - ofSearch).toBeLessThan(25);
  }
});

describe('behind a firewall that lets in only what was asked (C6)', () => {
  const guarded = () => {
    const spot = hotspot();
    const { clock, internet, lan } = spot;
    const phone = lan.host({ address: '192.168.43.21', firewall: { policy: 'contacted' } });
    return { ...spot, clock, internet, phone };
  };

  const find = async ({ clock, phone }: Hotspot, options = {}): Promise<Endpoint[]> => {
    const found: Endpoint[] = [];
    const searching = (async () => {
      const search = searchLan({ network: phone.network, clock, durationMs: 1_450, ...options });
      for await (const { endpoint } of search) found.push(endpoint);
    })();
    await clock.runUntil(searching);
    return found;
  };

  test('a search finds a device by broadcast and by address, because its port is asked as well', async () => {
    const spot = guarded();
    const { device } = await startDevice(spot);
    const to = [{ address: ADDRESS, port: LISTEN_PORT }];
    expect(await find(spot)).toEqual([]);
    expect(await find(spot, { knownPorts: [LISTEN_PORT] })).toEqual(to);
    expect(await find(spot, { knownPorts: [LISTEN_PORT], broadcast: false, hosts: [ADDRESS] })).toEqual(to);
    const network = spot.phone.network;
    const byUid = connectByLanSearch({
      network,
      clock: spot.clock,
      uid: UID,
      knownPorts: [LISTEN_PORT],
      timeoutMs: 2_000,
    });
    const session = await spot.clock.runUntil(byUid);
    const byAddress = await connect(spot);
    await spot.clock.runUntil(Promise.all([session.close(), byAddress.close(), device.close()]));
    await expectNothingLeft(spot);
  });

  test('where the port is not known, the message names the firewall', async () => {
    const { clock, phone, ...spot } = guarded();
    const { device } = await startDevice({ clock, phone, ...spot }, { listenPort: 45_000 });
    const searching = connectByLanSearch({ network: phone.network, clock, uid: UID, timeoutMs: 1_450 });
    await expect(clock.runUntil(searching)).rejects.toMatchObject({ message: expect.stringContaining('firewall') });
    await clock.runUntil(device.close());
  });
});

test('attempts on a host whose ports are all closed end at once (A6)', async () => {
  const spot = hotspot();
  await expect(connect(spot)).rejects.toMatchObject({
    errors: expect.arrayContaining([expect.objectContaining({ code: 'refused' })]),
  });
  expect(spot.clock.now()).toBeLessThan(1_000);
  await expectNothingLeft(spot);
});
