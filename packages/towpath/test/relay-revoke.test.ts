import { DEFAULT_TURN_CREDENTIALS_MS, issueTurnCredentials } from '@towpath/control/server';
import { SeededRandom, silentLog } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { SimulatedInternet } from '@towpath/net/simulated';
import { TurnAllocation } from '@towpath/stun';
import { timeLimitedCredentials } from '@towpath/stun/server';
import { expect, test } from 'vitest';
import { NO_QUOTAS } from './quotas.ts';
import { RelayNode } from '../src/commands/relay/relay-node.ts';

const SECRET = 'a secret that is long enough';

/** A relay on a simulated internet. */
async function world(isRevoked?: (user: string) => boolean) {
  const clock = new VirtualClock();
  const random = new SeededRandom(1);
  const internet = new SimulatedInternet({ clock, random });
  const { network, address } = internet.host();
  const node = await RelayNode.open(
    { network, clock, random, log: silentLog, ...(isRevoked && { isRevoked }) },
    {
      addresses: [address],
      port: 3478,
      tcp: true,
      relay: [{ address }],
      relayPorts: [50_000, 50_099],
      realm: 'towpath',
      secrets: [SECRET],
      users: {},
      limits: {},
      quotas: NO_QUOTAS,
      allow: [],
      deny: [],
      nonceSecret: '00'.repeat(32),
      shared: false,
    },
  );
  return { clock, random, internet, address, node };
}

test('a removed member loses its allocations and cannot allocate again until it is back (A4)', async () => {
  const gone = new Set<string>();
  const { clock, random, internet, address, node } = await world((user) => gone.has(user));
  const lost: string[] = [];
  const join = (user: string) =>
    clock.runUntil(
      TurnAllocation.connect(
        { network: internet.host().network, clock, random },
        {
          server: { address, port: 3478 },
          credentials: timeLimitedCredentials(SECRET, user, 3_600_000, clock.wallTime()),
          handlers: { onData() {}, onLost: () => lost.push(user) },
        },
      ),
    );
  await join('ann');
  await join('ben');
  gone.add('ann');
  expect(node.endAllocations((user) => gone.has(user))).toBe(1);
  expect(node.metrics.allocations).toBe(1);
  await clock.advance(20_000);
  expect(lost).toEqual(['ann']);
  await expect(join('ann')).rejects.toMatchObject({ code: 'stun-unauthenticated' });
  gone.clear();
  await join('ann');
  expect(node.metrics.allocations).toBe(2);
  await node[Symbol.asyncDispose]();
});

test('a relay that does not learn of removals lets go of a removed member when its ten minutes are over (A4)', async () => {
  const { clock, random, internet, address, node } = await world();
  const peer = internet.host();
  const heard: string[] = [];
  const socket = await peer.network.bindUdp({
    address: peer.address,
    onMessage: (data) => void heard.push(Buffer.from(data).toString()),
  });
  const { username, credential, expiresAtMs } = issueTurnCredentials(SECRET, {
    user: 'ann',
    nowMs: clock.wallTime(),
    validForMs: DEFAULT_TURN_CREDENTIALS_MS,
  });
  const start = () =>
    clock.runUntil(
      TurnAllocation.connect(
        { network: internet.host().network, clock, random },
        {
          server: { address, port: 3478 },
          credentials: { username, password: credential },
          handlers: { onData() {}, onLost() {} },
        },
      ),
    );
  const allocation = await start();
  await clock.runUntil(allocation.permit([peer.address]));
  const sends = async (text: string) => {
    allocation.send(Buffer.from(text), socket.local);
    await clock.advance(1_000);
    return heard.includes(text);
  };
  await clock.advance(300_000);
  expect(await sends('while the credentials are valid')).toBe(true);
  // The client has renewed its permission a moment before.
  await clock.advance(expiresAtMs - clock.wallTime() - 2_000);
  expect(await sends('two seconds before')).toBe(true);
  await clock.advance(expiresAtMs - clock.wallTime());
  await expect(start()).rejects.toMatchObject({ code: 'stun-unauthenticated' });
  expect(await sends('afterwards')).toBe(false);
  await socket.close();
  await node[Symbol.asyncDispose]();
});
