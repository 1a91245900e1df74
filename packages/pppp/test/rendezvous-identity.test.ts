import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import type { Endpoint } from '@towpath/net';
import { describe, expect, test } from 'vitest';
import { decodeMessage, encodeMessage, type Message, PaidInFullBytes } from '../src/codec/index.ts';
import type { RendezvousEvents, RendezvousOptions } from '../src/rendezvous/server/options.ts';
import { RendezvousServer } from '../src/rendezvous/server/rendezvous-server.ts';
import { StubNetwork } from './stub-network.ts';

const UID = 'TEST-000001-BCDEF';
const OTHER_UID = 'TEST-000002-BCDEF';
const PORT = 32100;
const RELAY = { address: '198.51.100.7', port: 32110 };
const DEVICE = { address: '192.0.2.9', port: 9 };
const SECOND = { address: '203.0.113.66', port: 6 };
const CLIENT = { address: '192.0.2.77', port: 7 };

async function world(options: RendezvousOptions = {}) {
  const network = new StubNetwork();
  const clock = new VirtualClock();
  const server = await RendezvousServer.listen(
    { network, clock, random: new SeededRandom(3) },
    { tcpPort: false, ports: [PORT], relays: [RELAY], ...options },
  );
  const told: string[] = [];
  for (const name of ['online', 'moved', 'offline', 'contested', 'login-refused', 'asked'] as const) {
    server.events.on(name, (event: RendezvousEvents[typeof name]) => told.push(`${name} ${event.uid}`));
  }
  const exchange = (from: Endpoint, message: Message): Message[] => {
    network.deliver(PORT, from, encodeMessage(message, PaidInFullBytes.P2P_REQ));
    return network.take(from.address, from.port).map((data) => decodeMessage(data) as Message);
  };
  /** Where clients are sent. */
  const connected = () =>
    exchange(CLIENT, { type: 'P2P_REQ', uid: UID, local: undefined }).flatMap((message) =>
      message.type === 'PUNCH_TO' ? [message.address?.address] : [],
    );
  return { network, clock, server, told, exchange, connected };
}

function login(uid = UID, continuity?: number): Message {
  const known = continuity === undefined ? {} : { continuity: new Uint8Array(8).fill(continuity) };
  return { type: 'DEV_LGN', uid, natType: 0, version: [4, 0, 0], local: undefined, ...known };
}

const OK = [{ type: 'DEV_LGN_ACK', result: 0 }];

describe('a device without a secret (A8)', () => {
  test('is not displaced by a second one with its UID while it is heard; all three sides are told', async () => {
    const { clock, server, told, exchange, connected } = await world();
    expect(exchange(DEVICE, login())).toEqual(OK);
    expect(exchange(SECOND, login())).toEqual([]);
    await clock.advance(1_000);
    // A repetition is no forged packet: the second device learns why it is not reached.
    expect(exchange(SECOND, login())).toEqual([{ type: 'DEV_LGN_ACK', result: 0xfa }]);
    const [answer] = exchange(CLIENT, { type: 'P2P_REQ', uid: UID, local: undefined });
    expect(answer).toEqual({ type: 'P2P_REQ_ACK', result: 0, contested: true });
    expect(connected()).toEqual([DEVICE.address]);
    expect(server.metrics).toMatchObject({ devices: 1, logins: 1, loginsContested: 2 });
    expect(told).toEqual([`online ${UID}`, `contested ${UID}`, `asked ${UID}`]);
    await server.close();
  });

  test('gives its UID up when it has not logged in for two and a half intervals', async () => {
    const { clock, server, told, exchange, connected } = await world();
    exchange(DEVICE, login());
    exchange(SECOND, login());
    await clock.advance(76_000);
    expect(exchange(SECOND, login())).toEqual(OK);
    expect(connected()).toEqual([SECOND.address]);
    expect(told.slice(0, 2)).toEqual([`online ${UID}`, `moved ${UID}`]);
    await server.close();
  });

  test('is known again at another address by its continuity value, at once', async () => {
    const { server, exchange, connected } = await world();
    exchange(DEVICE, login(UID, 1));
    expect(exchange(SECOND, login(UID, 2))).toEqual([]);
    expect(exchange(SECOND, login(UID, 1))).toEqual(OK);
    expect(connected()).toEqual([SECOND.address]);
    await server.close();
  });

  test('is not touched by a forged login of another UID from its address', async () => {
    const { network, clock, server, exchange, connected } = await world();
    exchange(DEVICE, login());
    await clock.advance(2_000);
    expect(exchange(DEVICE, login(OTHER_UID))).toEqual([]);
    expect(connected()).toEqual([DEVICE.address]);
    network.take(DEVICE.address);
    expect(exchange(CLIENT, { type: 'DEV_ONLINE_REQ', uid: OTHER_UID })).toMatchObject([{ result: 0xfe }]);
    expect(server.metrics).toMatchObject({ devices: 1, logins: 1, loginsContested: 1 });
    await server.close();
  });

  test('says when it goes', async () => {
    const { clock, server, told, exchange } = await world();
    exchange(DEVICE, login());
    await clock.advance(320_000);
    expect(told).toEqual([`online ${UID}`, `offline ${UID}`]);
    expect(server.metrics.devices).toBe(0);
    await server.close();
  });
});

describe('a device with a secret (A8)', () => {
  const deviceSecret = (uid: string) => (uid === UID ? 'open-sesame' : undefined);
  const withSecret = (dsk: string): Message => ({
    type: 'DEV_LGN_DSK',
    uid: UID,
    natType: 0,
    version: [4, 0, 0],
    local: undefined,
    dsk,
  });

  test('moves with it at once, and is not displaced or disturbed by logins without it', async () => {
    const { clock, server, told, exchange, connected } = await world({ deviceSecret });
    expect(exchange(DEVICE, withSecret('open-sesame'))).toEqual(OK);
    await clock.advance(2_000);
    expect(exchange(SECOND, login())).toEqual([{ type: 'DEV_LGN_ACK', result: 0xfc }]);
    // Forged, from its own address: an answer would be taken for one to its own login.
    expect(exchange(DEVICE, withSecret('guess'))).toEqual([]);
    expect(exchange(DEVICE, login(OTHER_UID))).toEqual([]);
    expect(connected()).toEqual([DEVICE.address]);
    expect(exchange(SECOND, withSecret('open-sesame'))).toEqual(OK);
    expect(connected()).toEqual([SECOND.address]);
    expect(told.filter((line) => line !== `asked ${UID}`)).toEqual([
      `online ${UID}`,
      `login-refused ${UID}`,
      `login-refused ${UID}`,
      `moved ${UID}`,
    ]);
    await server.close();
  });

  test('is asked for only with it on every path kind, where clients need it', async () => {
    const { clock, network, server, exchange } = await world({ deviceSecret, clientsNeedSecret: true });
    exchange(DEVICE, withSecret('open-sesame'));
    const relay = { address: RELAY.address, port: 51234 };
    const relayed = (dsk?: string, from = CLIENT) =>
      exchange(from, { type: 'RLY_REQ', uid: UID, relay, magic: 7, ...(dsk === undefined ? {} : { dsk }) })[0];
    const invited = () => network.take(DEVICE.address).length;
    const refused = { type: 'RLY_REQ_ACK', result: 0xfc };
    const granted = { type: 'RLY_REQ_ACK', result: 0 };
    expect([relayed(), relayed('guess'), invited()]).toEqual([refused, refused, 0]);
    expect([relayed('open-sesame'), invited()]).toEqual([granted, 1]);
    expect(exchange(CLIENT, { type: 'P2P_REQ', uid: UID, local: undefined })[0]).toMatchObject({ result: 0xfc });
    expect(exchange(CLIENT, { type: 'DEV_ONLINE_REQ', uid: UID })).toMatchObject([
      { result: 0xfc, secondsSinceLogin: 0 },
    ]);
    // Who does not know the secret does not learn either whether a device is there.
    expect(relayed(undefined, SECOND)).toEqual(refused);

    // A client of another make shows the secret with LIST_REQ_DSK, from the same address and port.
    exchange(CLIENT, { type: 'LIST_REQ_DSK', uid: UID, dsk: 'open-sesame' });
    expect([relayed(), invited()]).toEqual([granted, 1]);
    expect(relayed(undefined, { ...CLIENT, port: 8 })).toEqual(refused);
    expect(relayed(undefined, SECOND)).toEqual(refused);
    await clock.advance(61_000);
    expect(relayed()).toEqual(refused);
    await server.close();
  });
});

test('a flood of logins does not flood the log (A8)', async () => {
  const { server, network, told } = await world();
  for (let i = 0; i < 1_500; i++) {
    network.deliver(PORT, { address: `20.0.${i >> 8}.${i & 255}`, port: 9 }, encodeMessage(login(`TEST-${i}-A`)));
  }
  expect(told.length).toBeLessThanOrEqual(200);
  expect(server.metrics.eventsSuppressed).toBe(1_500 - told.length);
  await server.close();
});
