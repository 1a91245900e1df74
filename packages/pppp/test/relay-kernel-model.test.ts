import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import type { Endpoint } from '@towpath/net';
import { RelayPlane } from '@towpath/splice';
import { FakeKernel } from '@towpath/splice/testing';
import { expect, test } from 'vitest';
import { decodeMessage, encodeMessage } from '../src/codec/index.ts';
import { relayPlaneOptions } from '../src/relay/server/kernel-sessions.ts';
import { RelayServer } from '../src/relay/server/relay-server.ts';
import { PLANES } from '../../stun/test/support/planes.ts';
import { Wires } from '../../stun/test/support/wires.ts';
import {
  answer,
  DAY_MS,
  type Introduction,
  isLoop,
  MAX_BYTES,
  MODEL_LIMITS,
  pairKey,
  RelayModel,
  type Reservation,
  type Session,
} from './relay-model.ts';

/** `TOWPATH_RELAY_STEPS=100000` takes minutes in each plane. */
const STEPS = Number(process.env.TOWPATH_RELAY_STEPS ?? 500);
const RELAY: Endpoint = { address: '11.0.0.1', port: 32_110 };
const SWEEP_MS = 1_000;
/** Within so many steps there is a pause until shortly before the end of a client's day. */
const PAUSE_EVERY = 1_000;
const MANY = { perSecond: 1e9, burst: 1e9 };
const ADMISSION = {
  source: MANY,
  newPerAddress: MANY,
  newPerSubnet: MANY,
  crowd: MANY,
  unpaidPerSource: MANY,
  unpaidPerAddress: MANY,
  unpaidPerSubnet: MANY,
  unpaidTotal: MANY,
};
const LIMITS = { ...ADMISSION, ...MODEL_LIMITS };
const DEVICES = [1, 2, 3].flatMap((at) => placesOf(`11.0.2.${at}`));
const CLOSE = encodeMessage({ type: 'CLOSE' });
const ALIVE = encodeMessage({ type: 'ALIVE' });

/** What an end knows of a session that it takes part in. */
interface Meeting {
  readonly reservation: Reservation;
  readonly uid: string;
  readonly client: Endpoint;
  readonly device: Endpoint;
}

test.each(PLANES)(
  `a PPPP relay forwards nothing that is not allowed, in ${STEPS} interleavings of open, verify, data, move, limits, CLOSE and expiry, %s data plane (A7, D2)`,
  async (kind) => {
    const clock = new VirtualClock();
    const random = new SeededRandom(2026);
    const wires = new Wires(RELAY.address);
    const kernel = FakeKernel.host([RELAY.address]);
    const plane =
      kind === 'user'
        ? undefined
        : await RelayPlane.open(
            { system: kernel, clock, random: new SeededRandom(3) },
            {
              form: 'netdev',
              addresses: [RELAY.address],
              ...relayPlaneOptions({ limits: LIMITS }),
              watchIntervalMs: 3_600_000,
              routeIntervalMs: 3_600_000,
            },
          );
    const relay = await RelayServer.listen(
      { network: wires.network, clock, random: new SeededRandom(4), plane },
      { ...RELAY, tcpPort: false, sessionPorts: 3, keys: [], limits: LIMITS },
    );
    const ports = relay.sessionEndpoints;
    const model = new RelayModel(kind === 'kernel');
    let networks = 0;
    let swept = clock.now();
    const newClient = () => placesOf(`11.1.${networks >> 8}.${networks++ & 0xff}`);
    const clients = Array.from({ length: 4 }, newClient);
    let meetings: Meeting[] = [];
    const seen = { moves: 0, failures: 0, refused: 0, loops: 0, checked: 0 };
    const pick = <Value>(from: readonly Value[]): Value => from[random.integer(0, from.length - 1)]!;
    const settle = async () => {
      for (let turn = 0; turn < 40; turn++) await Promise.resolve();
      await clock.advance(0);
    };
    relay.events.on('ended', ({ uid, bytes }) => {
      const session = model.ended.get(uid);
      if (session === undefined) throw new Error(`${uid} has ended at ${clock.now()}, and should not.`);
      model.ended.delete(uid);
      expect(bytes, uid).toBeLessThanOrEqual(session.bytes);
      expect(bytes, uid).toBeGreaterThanOrEqual(session.bytes - session.lost);
    });

    for (let step = 0; step < STEPS; step++) {
      const chance = random.next();
      if (step % PAUSE_EVERY === PAUSE_EVERY / 4) await pauseUntilNextDay();
      else if (chance < 0.12) reserve(random.integer(0, clients.length - 1));
      else if (chance < 0.18) await meet(random.integer(0, clients.length - 1));
      else if (chance < 0.3) introduce();
      else if (chance < 0.6) sendSome();
      else if (chance < 0.63) tryAll();
      else if (chance < 0.66) await keepAlive(random.integer(2, 10));
      else if (chance < 0.68 && kind === 'kernel') fail();
      else await advance(random.integer(0, chance < 0.95 ? 4_000 : 40_000));
      await settle();
      check();
    }
    await advance(SWEEP_MS);
    expect(relay.metrics.sessions).toBe(model.sessions.size);
    if (plane !== undefined) {
      const inKernel = [...model.sessions.values()].flatMap((each) =>
        each.placed === undefined || isLoop(each) ? [] : [each.magic],
      );
      const { complete, incomplete, unexpected } = await plane.list();
      expect(complete.map((key) => Number(key.split(' ')[0])).toSorted()).toEqual(inKernel.toSorted());
      expect([incomplete, unexpected, plane.stats.sessions]).toEqual([[], [], inKernel.length]);
    }
    await relay.close();
    await clock.advance(60_000);
    if (plane !== undefined) {
      expect(await plane.list()).toEqual({ complete: [], incomplete: [], unexpected: [] });
      expect(plane.stats).toMatchObject({ sessions: 0, waiting: 0 });
      plane.close();
    }
    expect([clock.pendingTimers, kernel.tables.size, wires.sockets.size]).toEqual([0, 0, 0]);
    expect(model.seen[kind]).toBeGreaterThan(STEPS / 2);
    const { closed, idle, spent, neverReady, newDays } = model.seen;
    const common = Math.min(idle, seen.moves, seen.loops);
    expect(common, JSON.stringify([model.seen, seen])).toBeGreaterThan(STEPS / 200);
    expect(
      Math.min(closed, spent, neverReady, newDays, seen.refused),
      JSON.stringify([model.seen, seen]),
    ).toBeGreaterThan(0);
    if (kind === 'kernel') expect(Math.min(seen.checked, seen.failures)).toBeGreaterThan(STEPS / 100);

    function reserve(at: number): Meeting | undefined {
      const client = pick(clients[at]!);
      const account = model.account(client.address, clock.now());
      const expected = model.mayOpen(account, clock.now());
      const [sent] = wires.pass(encodeMessage({ type: 'RLY_PORT', uid: undefined }), client, RELAY);
      const reply = sent && decodeMessage(sent.data);
      if (expected !== undefined) expect(reply !== undefined, `a reservation of ${client.address}`).toBe(expected);
      if (reply?.type !== 'RLY_PORT_ACK') {
        seen.refused++;
        // It comes back from another network.
        if (account.bytes >= MODEL_LIMITS.clientBytesPerDay) clients[at] = newClient();
        return undefined;
      }
      const port = ports.find((each) => each.port === reply.port)!;
      const reservation = model.reserve(reply.magic, port, client.address, clock.now());
      // Sometimes both sides have one address.
      const isLoop = random.next() < 0.05;
      if (isLoop) seen.loops++;
      const meeting = { reservation, uid: uidOf(reply.magic), client, device: isLoop ? client : pick(DEVICES) };
      meetings = [...meetings.slice(-30), meeting];
      return meeting;
    }

    /** Opens a session as two ends do that nothing disturbs. */
    async function meet(at: number): Promise<Meeting | undefined> {
      const meeting = reserve(at);
      if (meeting === undefined) return undefined;
      const { reservation, uid, client, device } = meeting;
      const { magic, port } = reservation;
      say({ from: client, port, magic, uid, side: 'client' });
      await advance(random.integer(0, 300));
      say({ from: device, port, magic, uid, side: 'device' });
      await advance(1);
      for (const from of [device, client]) send(ALIVE, from, port);
      return meeting;
    }

    /** Says a RLY_PKT, one in three with something wrong. */
    function introduce(): void {
      if (meetings.length === 0) return;
      const { reservation, uid, client, device } = pick(meetings);
      const { magic, port } = reservation;
      const side = pick(['client', 'device'] as const);
      const right = { from: side === 'client' ? client : device, port, magic, uid, side };
      const chance = random.next();
      if (chance < 0.67) say(right);
      else if (chance < 0.87) {
        seen.moves++;
        say({ ...right, from: pick(side === 'client' ? pick(clients) : DEVICES) });
      } else if (chance < 0.92) say({ ...right, port: pick(ports) });
      else if (chance < 0.97) say({ ...right, magic: (magic ^ 1) >>> 0 });
      else say({ ...right, uid: 'TEST-999999-ZZZZZ' });
    }

    function say(introduction: Introduction): void {
      const { magic, uid, side, from, port } = introduction;
      const before = relay.metrics;
      const sent = wires.pass(encodeMessage({ type: 'RLY_PKT', magic, uid, side }), from, port);
      const after = relay.metrics;
      const outcome = {
        conflicts: after.portConflicts - before.portConflicts,
        wrong: after.wrongMagic - before.wrongMagic,
        opened: after.sessionsOpened - before.sessionsOpened,
        answers: sent.map(({ data, to }) => answer(decodeMessage(data).type, to)).toSorted(),
      };
      const { answers, ...expected } = model.introduce(introduction, outcome.opened > 0, clock.now());
      const what = `${JSON.stringify(introduction)} at ${clock.now()}`;
      expect(outcome, what).toEqual({ ...expected, answers: answers.toSorted() });
    }

    /** Sends a few datagrams of one end to its session port. */
    function sendSome(): void {
      const open = [...model.sessions.values()];
      if (open.length === 0) return;
      const { client, device, port } = pick(open);
      const from = (random.next() < 0.5 ? client : device)?.at;
      if (from === undefined) return;
      for (let left = random.integer(1, 8); left > 0; left--) {
        const chance = random.next();
        if (chance < 0.1) send(ALIVE, from, port);
        else if (chance < 0.13) send(data(MAX_BYTES + 1), from, port);
        else send(data(random.integer(12, MAX_BYTES)), from, port);
      }
      if (random.next() < 0.1) send(CLOSE, from, port);
    }

    /** Of a datagram from everybody to every port, nothing leaves where nothing may. */
    function tryAll(): void {
      for (const from of [...clients.flat(), ...DEVICES]) {
        for (const port of ports) if (model.target(from, port) === undefined) send(data(20), from, port);
      }
    }

    function send(payload: Uint8Array, from: Endpoint, to: Endpoint): void {
      const bytes = payload.length;
      const isData = payload[1] === 0xd0 && bytes <= MAX_BYTES;
      const out = isData && plane !== undefined ? kernel.forward({ from, to, bytes }) : undefined;
      const by = out === undefined ? 'user' : 'kernel';
      let sent = out === undefined ? wires.pass(payload, from, to) : [];
      if (typeof out === 'object') sent = [{ data: payload, ...out }];
      for (const each of sent) expect(each.data).toBe(payload);
      const left = sent.map((each) => pairKey(each.from, each.to));
      model.datagram({ from, to, bytes, isClose: payload === CLOSE }, { by, left }, clock.now());
    }

    /** All sessions are in use for a while, in which no end says anything else. */
    async function keepAlive(rounds: number): Promise<void> {
      for (let round = 0; round < rounds; round++) {
        for (const { client, device, port } of [...model.sessions.values()]) {
          if (client !== undefined) send(round % 3 === 0 ? ALIVE : data(100), client.at, port);
          if (device !== undefined && round % 2 === 0) send(data(200), device.at, port);
        }
        await advance(random.integer(5_000, 25_000));
      }
    }

    /** Everything ends, one session over its bytes; then one runs into its client's new day, most bytes of the last one used. */
    async function pauseUntilNextDay(): Promise<void> {
      await advance(120_000);
      expect([model.sessions.size, relay.metrics.sessions]).toEqual([0, 0]);
      clients[0] = newClient();
      await use(await meet(0), MODEL_LIMITS.clientBytesPerDay);
      await advance(4_000);
      expect(reserve(0)).toBeUndefined();
      const untilMs = clock.now() + DAY_MS - random.integer(10_000, 40_000);
      await meet(0);
      await advance(120_000);
      await clock.advance(untilMs - clock.now());
      while (swept + SWEEP_MS <= untilMs) {
        swept += SWEEP_MS;
        model.sweepAccounts(swept);
      }
      await use(await meet(0), 0.9 * MODEL_LIMITS.clientBytesPerDay);
    }

    /** A client receives data until it has used so many bytes. */
    async function use(meeting: Meeting | undefined, bytes: number): Promise<void> {
      const { device, reservation } = meeting!;
      await advance(4_000);
      const { account } = model.sessions.get(reservation.magic)!;
      while (account.bytes < bytes) send(data(MAX_BYTES), device, reservation.port);
    }

    function fail(): void {
      kernel.children.at(-1)!.end('SIGKILL');
      model.lose(clock.now());
      seen.failures++;
    }

    async function advance(ms: number): Promise<void> {
      const until = clock.now() + ms;
      while (swept + SWEEP_MS <= until) {
        swept += SWEEP_MS;
        wires.take();
        const { endedOverQuota } = relay.metrics;
        await clock.advance(swept - clock.now());
        await settle();
        const closes = wires.take();
        for (const { data } of closes) expect(decodeMessage(data).type).toBe('CLOSE');
        model.sweep({ closes, overQuota: relay.metrics.endedOverQuota > endedOverQuota }, swept);
        check();
      }
      await clock.advance(until - clock.now());
    }

    /** The kernel has what the model says, and forwards it where it should go. */
    function check(): void {
      expect(relay.metrics.sessions, `at ${clock.now()}`).toBe(model.sessions.size);
      if (plane === undefined) return;
      const found = new Map<string, string>();
      for (const key of kernel.elements('netdev', 'sessions4').keys()) {
        const [source, sport, address, dport] = key.split(' . ') as [string, string, string, string];
        const [from, to] = [
          { address: source, port: Number(sport) },
          { address, port: Number(dport) },
        ];
        const out = kernel.target(from, to)!;
        found.set(pairKey(from, to), pairKey(out.from, out.to));
      }
      const expected = new Map<string, string>();
      let waiting = 0;
      const doubtful: Session[] = [];
      for (const session of model.sessions.values()) {
        const { client, device, port, placed } = session;
        if (model.isDoubtful(session, clock.now())) doubtful.push(session);
        else if (placed !== undefined && isLoop(session)) waiting++;
        if (isLoop(session) || (doubtful.includes(session) ? !found.has(pairKey(client!.at, port)) : !placed)) continue;
        expected.set(pairKey(client!.at, port), pairKey(port, device!.at));
        expected.set(pairKey(device!.at, port), pairKey(port, client!.at));
      }
      for (const session of doubtful) {
        const isWaiting = isLoop(session) && plane.stats.waiting > waiting;
        model.settle(session, isWaiting || found.has(pairKey(session.client!.at, session.port)), clock.now());
        if (isWaiting) waiting++;
      }
      expect(plane.stats.waiting, `at ${clock.now()}`).toBe(waiting);
      expect([...found].toSorted(), `at ${clock.now()}`).toEqual([...expected].toSorted());
      seen.checked += found.size;
    }
  },
  3_600_000,
);

function placesOf(address: string): Endpoint[] {
  return [0, 1].map((at) => ({ address, port: 6_000 + at }));
}

function uidOf(magic: number): string {
  return `TEST-${String(magic % 1_000_000).padStart(6, '0')}-${String.fromCharCode(65 + (magic % 26))}BCDE`;
}

/** A datagram of so many bytes that begins like a DRW. */
function data(bytes: number): Uint8Array {
  const datagram = new Uint8Array(bytes);
  datagram.set(encodeMessage({ type: 'DRW', channel: 0, index: 0, data: new Uint8Array(4) }));
  return datagram;
}
