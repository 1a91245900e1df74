import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { SimulatedInternet } from '@towpath/net/simulated';
import { encodeMessage, encodeTcpFrame, type Message, PaidInFullBytes } from '@towpath/pppp/codec';
import { RendezvousServer } from '@towpath/pppp/server';
import { describe, expect, test } from 'vitest';
import { ServeJournal } from '../src/commands/pppp/journal.ts';
import { idleRuntime, testIo } from './test-io.ts';

const UID = 'TEST-000001-BCDEF';
const SECRET_UID = 'TEST-000002-BCDEF';
const SERVER = { address: '198.51.100.1', port: 32_100 };
const CAMERA = { address: '192.0.2.9', port: 4_009 };
const SECOND = { address: '203.0.113.66', port: 4_066 };

/** A rendezvous whose journal is printed, and hosts that send it messages. */
async function world(options: { json?: boolean } = {}) {
  const clock = new VirtualClock();
  const random = new SeededRandom(3);
  const internet = new SimulatedInternet({ clock, random }, { link: { delayMs: 5, jitterMs: 0, lossRatio: 0 } });
  const out: string[] = [];
  const err: string[] = [];
  const io = testIo({ out: (line) => void out.push(line), err: (line) => void err.push(line) });
  const { network } = internet.host({ address: SERVER.address });
  const deviceSecret = (uid: string) => (uid === SECRET_UID ? 'open-sesame' : undefined);
  const server = await RendezvousServer.listen({ network, clock, random }, { ports: [SERVER.port], deviceSecret });
  new ServeJournal({ ...idleRuntime(), clock, io }, options).followRendezvous(server);
  const hosts = new Map([CAMERA, SECOND].map(({ address }) => [address, internet.host({ address }).network] as const));
  const send = async ({ address, port }: typeof CAMERA, message: Message) => {
    const socket = await hosts.get(address)!.bindUdp({ port, onMessage: () => {} });
    socket.send(encodeMessage(message, PaidInFullBytes.P2P_REQ), SERVER);
    await clock.advance(1_000);
    await socket.close();
  };
  /** What was printed, without the time of day. */
  const lines = () => err.map((line) => line.replace(/^\d\d:\d\d:\d\d /, ''));
  return { clock, internet, server, hosts, send, lines, out, err };
}

function login(uid = UID): Message {
  return { type: 'DEV_LGN', uid, natType: 0, version: [4, 0, 0], local: undefined };
}

describe('the lines of pppp serve (A8)', () => {
  test('a second device with the UID of one that is online is named with what to do, and moves in when that one is silent', async () => {
    const { clock, server, send, lines } = await world();
    await send(CAMERA, login());
    await send(SECOND, login());
    await send(SECOND, login());
    await clock.advance(76_000);
    await send(SECOND, login());
    expect(lines()).toEqual([
      `online    ${UID} at 192.0.2.9:4009 over UDP`,
      `contested ${UID}: 192.0.2.9:4009 stays, 203.0.113.66:4066 claims it too and is refused. Give each device a UID of its own, or the right one a secret (--secrets).`,
      `moved     ${UID} to 203.0.113.66:4066 over UDP from 192.0.2.9:4009`,
    ]);
    await clock.runUntil(server.close());
  });

  test('a device that has gone, and one whose connection is gone, are offline for different reasons', async () => {
    const { clock, server, hosts, send, lines } = await world();
    await send(CAMERA, login());
    await clock.advance(320_000);
    expect(lines().slice(1)).toEqual([`offline   ${UID}: no login for five minutes`]);
    const connection = await clock.runUntil(hosts.get(SECOND.address)!.connectTcp(SERVER, { onData: () => {} }));
    connection.write(encodeTcpFrame(encodeMessage(login())));
    await clock.advance(2_000);
    connection.destroy();
    await clock.advance(2_000);
    expect(lines().slice(2)).toEqual([
      expect.stringMatching(/^online {4}TEST-000001-BCDEF at 203\.0\.113\.66:\d+ over TCP$/),
      `offline   ${UID}: its connection is gone`,
    ]);
    await clock.runUntil(server.close());
  });

  test('a login without the secret is refused with the reason', async () => {
    const { clock, server, send, lines } = await world();
    await send(SECOND, login(SECRET_UID));
    expect(lines()).toEqual([`refused   login of ${SECRET_UID} from 203.0.113.66:4066: wrong or missing secret`]);
    await clock.runUntil(server.close());
  });

  test('with --json each is an object with both addresses', async () => {
    const { clock, server, send, out, err } = await world({ json: true });
    await send(CAMERA, login());
    await send(SECOND, login());
    await send(SECOND, login());
    await send(SECOND, login(SECRET_UID));
    expect(out.map((line) => JSON.parse(line))).toMatchObject([
      { type: 'online', uid: UID, endpoint: CAMERA, over: 'udp' },
      { type: 'contested', uid: UID, endpoint: CAMERA, claimant: SECOND },
      { type: 'refused', uid: SECRET_UID, endpoint: SECOND },
    ]);
    expect(err).toEqual([]);
    await clock.runUntil(server.close());
  });
});
