import { SystemClock, SystemRandom } from '@towpath/core';
import { NodeNetwork } from '@towpath/net';
import { expect, test } from 'vitest';
import { connectByRelay, connectByRendezvous, type PpppSession } from '../src/index.ts';
import { DeviceRegistration, PpppDevice } from '../src/device/index.ts';
import { RelayServer, RendezvousServer } from '../src/server/index.ts';

const UID = 'TEST-000001-BCDEF';
const address = '127.0.0.1';

/** Sends bytes to a device that sends them back. */
async function echo(session: PpppSession, data: Uint8Array): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let received = 0;
  await new Promise<void>((resolve) => {
    session.attach({
      onData(channel, piece) {
        if (channel !== 1) return;
        pieces.push(piece);
        received += piece.length;
        if (received >= data.length) resolve();
      },
    });
    session.write(1, data);
  });
  return Buffer.concat(pieces);
}

test('on real sockets: login, rendezvous, relay by UDP and by TCP, bytes exact, quick to close (A7)', async () => {
  const network = new NodeNetwork();
  const random = new SystemRandom();
  const components = { network, clock: new SystemClock(), random };
  // Below what the system gives to others: UDP and TCP need the same number.
  const [port, relayPort] = [random.integer(20_000, 25_999), random.integer(26_000, 31_999)];
  await using relay = await RelayServer.listen(components, { address, port: relayPort, sessionPorts: 4 });
  const relays = [relay.endpoint];
  await using rendezvous = await RendezvousServer.listen(components, { address, ports: [port], relays });
  const servers = rendezvous.endpoints;
  await using device = await PpppDevice.open(components, {
    uid: UID,
    searchPort: false,
    onSession(session) {
      session.attach({ onData: (channel, data) => session.write(channel, data) });
    },
  });
  const data = new Uint8Array(200_000).map((_, at) => at * 31);
  for (const transport of ['udp', 'tcp'] as const) {
    const registration = new DeviceRegistration({ ...components, device }, { servers, transport });
    await registration.events.once('login');
    const common = { ...components, uid: UID, servers };
    const attempts = [connectByRelay({ ...common, transport }), connectByRelay({ ...common, transport: 'udp' })];
    if (transport === 'udp') attempts.push(connectByRendezvous(common));
    for (const session of await Promise.all(attempts)) {
      expect(await echo(session, data)).toEqual(Buffer.from(data));
      await session.close();
    }
    await registration.close();
  }
  expect(relay.metrics).toMatchObject({ sessionsReady: 4, endedIdle: 0 });
});

test('a rendezvous server whose port is closed is said at once, by rendezvous and over a relay (A5)', async () => {
  const network = new NodeNetwork();
  const clock = new SystemClock();
  const components = { network, clock, random: new SystemRandom() };
  const port = await closedPort(network);
  for (const connect of [connectByRendezvous, connectByRelay]) {
    const startedAt = clock.now();
    const options = { ...components, uid: UID, servers: [{ address, port }], serverLimitMs: 30_000, timeoutMs: 30_000 };
    await expect(connect({ ...options, transport: 'udp' })).rejects.toMatchObject({
      code: 'server-unreachable',
      message: `Port closed: no rendezvous server runs at ${address}:${port} (ICMP port unreachable). Next: check the addresses and ports, and that the servers run.`,
    });
    expect(clock.now() - startedAt).toBeLessThan(15_000);
  }
});

async function closedPort(network: NodeNetwork): Promise<number> {
  await using socket = await network.bindUdp({ address, onMessage: () => {} });
  return socket.local.port;
}
