/**
 * Established users during a flood: a device and its clients at one rendezvous and relay, `pppp-regulars.ts SERVER SECONDS`.
 *
 * A device, a client that asks after it and a relayed session are there already. It prints what they counted in a quiet
 * time, then `ready` with the session's port; after SIGUSR2 what they counted in SECONDS while new
 * clients connect as well.
 */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { SystemClock, SystemRandom } from '@towpath/core';
import { type Endpoint, NodeNetwork } from '@towpath/net';
import { connectByRelay, connectByRendezvous } from '@towpath/pppp';
import { decodeMessage, encodeMessage, type Message } from '@towpath/pppp/codec';
import { DeviceRegistration, PpppDevice } from '@towpath/pppp/device';
import type { Counts, NewClients } from './pppp-counts.ts';

const ADDRESS = process.argv[2] ?? '';
const SECONDS = Number(process.argv[3]);
const RENDEZVOUS: Endpoint = { address: ADDRESS, port: 32_100 };
const RELAY: Endpoint = { address: ADDRESS, port: 32_110 };
const DEVICE_UID = 'TEST-000001-BCDEF';
const RELAYED_UID = 'TEST-000002-BCDEF';

/** Requests of the known client, and packets of the relayed session in each direction, per second. */
const ASKS_PER_SECOND = 40;
const PACKETS_PER_SECOND = 250;
const PACKET_BYTES = 1032;

/** After this time they count as known before a flood. */
const QUIET_MS = 4_000;

/** Late packets still count. */
const LATE_MS = 500;

const components = { network: new NodeNetwork(), clock: new SystemClock(), random: new SystemRandom() };

/** A socket that counts what comes, by type of message. */
async function speaker() {
  const heard = new Map<string, Message>();
  let asked = 0;
  let answered = 0;
  let whole = 0;
  const socket = await components.network.bindUdp({
    receiveBufferBytes: 1 << 20,
    onMessage(data) {
      if (data.length === PACKET_BYTES) {
        whole++;
        return;
      }
      const message = decodeMessage(data) as Message;
      heard.set(message.type, message);
      if (message.type === 'DEV_ONLINE_REQ_ACK') answered++;
    },
  });
  return {
    socket,
    packets: () => whole,
    answers: () => ({ asked, answered }),
    ask() {
      asked++;
      socket.send(encodeMessage({ type: 'DEV_ONLINE_REQ', uid: DEVICE_UID }), RENDEZVOUS);
    },
    /** Repeats it until it is answered. */
    async until<T extends Message['type']>(type: T, to: Endpoint, message: Message) {
      for (let tries = 0; tries < 50 && !heard.has(type); tries++) {
        socket.send(encodeMessage(message), to);
        await sleep(100);
      }
      const answer = heard.get(type);
      if (answer === undefined) throw new Error(`No ${type} came.`);
      return answer as Extract<Message, { type: T }>;
    },
  };
}

const known = await speaker();
const near = await speaker();
const far = await speaker();

const device = await PpppDevice.open(components, { uid: DEVICE_UID, searchPort: false, onSession() {} });
const registration = new DeviceRegistration({ ...components, device }, { servers: [RENDEZVOUS] });
while (registration.status.some(({ state }) => state !== 'online')) await sleep(20);

const { magic, port } = await near.until('RLY_PORT_ACK', RELAY, { type: 'RLY_PORT', uid: RELAYED_UID });
const at = { address: ADDRESS, port };
near.socket.send(encodeMessage({ type: 'RLY_PKT', magic, uid: RELAYED_UID, side: 'client' }), at);
await far.until('RLY_RDY', at, { type: 'RLY_PKT', magic, uid: RELAYED_UID, side: 'device' });

/** Runs the established users for this time, and counts what arrives. */
async function goOn(ms: number): Promise<Counts> {
  const before = { ...known.answers(), near: near.packets(), far: far.packets() };
  const data = new Uint8Array(PACKET_BYTES).fill(7);
  const startedAt = performance.now();
  let sent = 0;
  let asks = 0;
  for (let elapsed = 0; elapsed < ms; elapsed = performance.now() - startedAt) {
    for (; sent < (elapsed * PACKETS_PER_SECOND) / 1000; sent++) {
      near.socket.send(data, at);
      far.socket.send(data, at);
    }
    for (; asks < (elapsed * ASKS_PER_SECOND) / 1000; asks++) known.ask();
    await sleep(4);
  }
  await sleep(LATE_MS);
  const after = known.answers();
  return {
    asked: after.asked - before.asked,
    answered: after.answered - before.answered,
    sent: 2 * sent,
    forwarded: near.packets() - before.near + far.packets() - before.far,
  };
}

/** New clients, one after the other, by both path kinds alternately. */
async function newcomers(signal: AbortSignal): Promise<NewClients> {
  const tookMs: number[] = [];
  const failures: string[] = [];
  for (let turn = 0; !signal.aborted; turn++) {
    const startedAt = performance.now();
    const options = { ...components, servers: [RENDEZVOUS], uid: DEVICE_UID, timeoutMs: 5_000 };
    try {
      const session = await (turn % 2 === 0 ? connectByRendezvous(options) : connectByRelay(options));
      tookMs.push(Math.round(performance.now() - startedAt));
      await session.close();
    } catch (error) {
      failures.push(String(error));
    }
    await sleep(100);
  }
  return { tookMs, failures };
}

function print(what: object): void {
  console.log(JSON.stringify(what));
}

print({ quiet: await goOn(QUIET_MS) });
print({ ready: port });
await once(process, 'SIGUSR2');
const over = new AbortController();
const newClients = newcomers(over.signal);
const counts = await goOn(SECONDS * 1000);
over.abort();
print({ flooded: counts, newClients: await newClients });
process.exit(0);
