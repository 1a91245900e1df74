import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import type { Endpoint } from '@towpath/net';
import { type NatOptions, natKinds, type SimulatedHost, SimulatedInternet } from '@towpath/net/simulated';
import { bindingResult, type NatReport, StunTransactions, discoverNat, reachabilityByPeer } from '../src/index.ts';
import { reachabilityBetween } from '../src/behaviour/reachability.ts';
import { decodeStun, Method } from '../src/message/index.ts';
import { StunServer } from '../src/server/index.ts';
import { describe, expect, test } from 'vitest';

const DEPENDENCES = ['endpoint-independent', 'address-dependent', 'address-and-port-dependent'] as const;

const KINDS: [string, NatOptions][] = [
  ['open', natKinds.open],
  ['firewall', natKinds.firewall],
  ['blocked', natKinds.udpBlocked],
  ['counting', natKinds.symmetricSequential],
  ...DEPENDENCES.flatMap((mapping) =>
    DEPENDENCES.map((filtering): [string, NatOptions] => [
      `${mapping} mapping, ${filtering} filtering`,
      { mapping, filtering, ports: 'random' },
    ]),
  ),
];

const PAIRS = KINDS.flatMap((a, at) => KINDS.slice(at).map((b) => ({ a, b })));

/** Two networks on one internet, with what a STUN server says about each. */
async function pair(a: NatOptions, b: NatOptions) {
  const clock = new VirtualClock();
  const random = new SeededRandom(3);
  const internet = new SimulatedInternet({ clock, random: new SeededRandom(4) });
  const host = internet.host();
  const second = host.join(internet.network);
  const server = await StunServer.listen(
    { network: host.network, clock },
    { address: host.address, port: 3478, alternate: { address: second.addresses[0], port: 3479 } },
  );
  const hosts = [internet.nat({ ...a, name: 'a' }).host(), internet.nat({ ...b, name: 'b' }).host()] as const;
  const discover = ({ network }: SimulatedHost): Promise<NatReport> =>
    clock.runUntil(discoverNat({ network, clock, random }, { servers: [server.local] }));
  return { clock, random, server, hosts, natA: await discover(hosts[0]), natB: await discover(hosts[1]) };
}

/** Both send to where the server saw the other, and answer to wherever something came from: do both get an answer? */
async function punch({ clock, random, server, hosts }: Awaited<ReturnType<typeof pair>>): Promise<boolean> {
  const answered = new Set<SimulatedHost>();
  const sides = [];
  for (const host of hosts) {
    const socket = await host.network.bindUdp({
      onMessage(data, from) {
        const decoded = decodeStun(data);
        if (decoded.ok) transactions.handle(decoded.message, from);
        else if (String(Buffer.from(data)) === 'yes') answered.add(host);
        if (!decoded.ok && sends++ < 100) socket.send(Buffer.from('yes'), from);
      },
    });
    let sends = 0;
    const transactions = new StunTransactions({ clock, random, send: (data, to) => socket.send(data, to) });
    sides.push({ socket, transactions });
  }
  const seen: (Endpoint | undefined)[] = [];
  for (const { transactions } of sides) {
    const asked = transactions.request(server.local, { method: Method.Binding, maxSends: 2, lastWaitFactor: 1 });
    seen.push(
      await clock.runUntil(
        asked.then(
          (response) => bindingResult(response).mapped,
          () => undefined,
        ),
      ),
    );
  }
  for (let round = 0; round < 20; round++) {
    for (const [at, { socket }] of sides.entries()) {
      const other = seen[1 - at];
      if (other !== undefined) socket.send(Buffer.from('hello'), other);
    }
    await clock.advance(50);
  }
  for (const { socket } of sides) await socket.close();
  return answered.size === 2;
}

describe('reachability between two networks', () => {
  test.each(PAIRS)('agrees with simulated hole punching: $a.0 with $b.0 (C3)', async ({ a, b }) => {
    const world = await pair(a[1], b[1]);
    const reachability = reachabilityBetween(world.natA, world.natB);
    expect(await punch(world)).toBe(reachability === 'direct');
    expect(reachability).toBe(reachabilityBetween(world.natB, world.natA));
    await world.server.close();
  });

  test.each([
    [natKinds.portRestricted, ['direct', 'direct', 'direct', 'direct', 'port-prediction', 'birthday-attack', 'relay']],
    [natKinds.restrictedCone, ['direct', 'direct', 'direct', 'direct', 'direct', 'direct', 'relay']],
    [natKinds.symmetricSequential, ['direct', 'direct', 'direct', 'port-prediction', 'relay', 'relay', 'relay']],
    [natKinds.symmetricRandom, ['direct', 'direct', 'direct', 'birthday-attack', 'relay', 'relay', 'relay']],
    [natKinds.udpBlocked, ['relay', 'relay', 'relay', 'relay', 'relay', 'relay', 'relay']],
  ])('is given for every kind of peer: %j', async (nat, expected) => {
    const { natA, server } = await pair(nat, natKinds.open);
    expect(reachabilityByPeer(natA).map(({ reachability }) => reachability)).toEqual(expected);
    await server.close();
  });

  test('is unknown when the mapping could not be measured', () => {
    const nat = { udp: true, mapping: 'unknown', filtering: 'unknown', ports: 'unknown' } as const;
    expect(new Set(reachabilityByPeer(nat).map(({ reachability }) => reachability))).toEqual(
      new Set(['unknown', 'relay']),
    );
  });
});
