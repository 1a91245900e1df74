import { describe, expect, test } from 'vitest';
import { type Endpoint, formatEndpoint } from '../src/index.ts';
import {
  type NatKind,
  type NatOptions,
  natKinds,
  type SimulatedHost,
  type SimulatedNat,
} from '../src/simulated/index.ts';
import { Simulation, type TestSocket } from './simulation.ts';

/** A server as RFC 5780 wants it: two addresses, two ports, and it answers from where it is asked to. */
async function behaviourServer(simulation: Simulation) {
  const host = simulation.internet.host({ address: '192.0.2.1' });
  host.join(simulation.internet.network, { address: '192.0.2.2' });
  const sockets = new Map<string, TestSocket>();
  for (const address of ['192.0.2.1', '192.0.2.2']) {
    for (const port of [3_478, 3_479]) {
      const socket = await simulation.bind(host, {
        address,
        port,
        onMessage: (data, from) => {
          const answerFrom = new TextDecoder().decode(data) || `${address}:${port}`;
          sockets.get(answerFrom)!.sendText(formatEndpoint(from), from);
        },
      });
      sockets.set(`${address}:${port}`, socket);
    }
  }
}

const at = (address: string, port: number): Endpoint => ({ address, port });

/** What a client behind the NAT finds out with the tests of RFC 5780 §4. */
async function probe(simulation: Simulation, host: SimulatedHost) {
  const { clock } = simulation;
  const client = await simulation.bind(host);
  const ask = async (socket: TestSocket, to: Endpoint, answerFrom = '') => {
    const before = socket.received.length;
    socket.sendText(answerFrom, to);
    await clock.advance(500);
    return socket.received[before]?.text;
  };
  const first = await ask(client, at('192.0.2.1', 3_478));
  if (first === undefined) return { mapping: 'blocked', filtering: 'blocked' };
  const second = await ask(client, at('192.0.2.2', 3_478));
  const third = await ask(client, at('192.0.2.2', 3_479));
  const fresh = await simulation.bind(host);
  const external = await ask(fresh, at('192.0.2.1', 3_478));
  const otherAddress = await ask(fresh, at('192.0.2.1', 3_478), '192.0.2.2:3479');
  const otherPort = await ask(fresh, at('192.0.2.1', 3_478), '192.0.2.1:3479');
  const port = (text: string | undefined) => Number(text?.split(':')[1]);
  const dependent = second === third ? 'address-dependent' : 'address-and-port-dependent';
  const strict = otherPort === undefined ? 'address-and-port-dependent' : 'address-dependent';
  return {
    mapping: first === second ? 'endpoint-independent' : dependent,
    filtering: otherAddress === undefined ? strict : 'endpoint-independent',
    keepsPort: port(external) === fresh.socket.local.port,
    step: port(third) - port(second),
    translates: external !== `${host.address}:${fresh.socket.local.port}`,
  };
}

const independent = 'endpoint-independent';
const byAddress = 'address-dependent';
const byPort = 'address-and-port-dependent';

describe('what an RFC 5780 client sees behind each kind of NAT', () => {
  const expected: Record<NatKind, object> = {
    open: { mapping: independent, filtering: independent, keepsPort: true, translates: false },
    firewall: { mapping: independent, filtering: byPort, keepsPort: true, translates: false },
    fullCone: { mapping: independent, filtering: independent, keepsPort: true, translates: true },
    restrictedCone: { mapping: independent, filtering: byAddress, keepsPort: true },
    portRestricted: { mapping: independent, filtering: byPort, keepsPort: true },
    portRestrictedRandom: { mapping: independent, filtering: byPort, keepsPort: false },
    symmetricSequential: { mapping: byPort, filtering: byPort, keepsPort: false, step: 1 },
    symmetricRandom: { mapping: byPort, filtering: byPort, keepsPort: false },
    addressDependent: { mapping: byAddress, filtering: byPort, keepsPort: false, step: 0 },
    linuxMasquerade: { mapping: independent, filtering: byPort, keepsPort: true },
    udpBlocked: { mapping: 'blocked', filtering: 'blocked' },
    cgnat: { mapping: independent, filtering: byPort, keepsPort: false },
    cgnatSymmetric: { mapping: byPort, filtering: byPort, keepsPort: false },
  };
  for (const kind of Object.keys(expected) as NatKind[]) {
    test(`${kind} (C3)`, async () => {
      const simulation = new Simulation();
      await behaviourServer(simulation);
      const seen = await probe(simulation, simulation.internet.nat(natKinds[kind]).host());
      expect(seen).toMatchObject(expected[kind]);
    });
  }

  const kinds = [independent, byAddress, byPort] as const;
  for (const mapping of kinds) {
    for (const filtering of kinds) {
      for (const ports of ['preserving', 'sequential', 'random'] as const) {
        test(`mapping ${mapping}, filtering ${filtering}, ${ports} ports (C3)`, async () => {
          const simulation = new Simulation();
          await behaviourServer(simulation);
          const nat = simulation.internet.nat({ mapping, filtering, ports, portStep: -2 });
          const seen = await probe(simulation, nat.host());
          expect(seen).toMatchObject({ mapping, filtering, keepsPort: ports === 'preserving' });
          if (ports === 'sequential' && mapping === byPort) expect(seen.step).toBe(-2);
        });
      }
    }
  }
});

/** A client behind a NAT that has sent to a server, and what the server can send to it. */
async function conversation(options: NatOptions) {
  const simulation = new Simulation();
  const { clock, internet } = simulation;
  const nat = internet.nat(options);
  const host = nat.host();
  const client = await simulation.bind(host, { port: 5_000 });
  const server = internet.host();
  const [main, other] = [await simulation.bind(server, { port: 1 }), await simulation.bind(server, { port: 2 })];
  const hello = async () => {
    client.sendText('hello', { address: server.address, port: 1 });
    await clock.advance(100);
    return main.received.at(-1)?.from as Endpoint;
  };
  return { ...simulation, clock, internet, simulation, nat, host, client, server, main, other, hello };
}

describe('mappings', () => {
  test('end when unused for their lifetime, after which the next packet gets a new one', async () => {
    const { clock, client, main, nat, hello } = await conversation({ ports: 'random', mappingLifetimeMs: 30_000 });
    const before = await hello();
    await clock.advance(29_000);
    main.sendText('in time', before);
    await clock.advance(31_000);
    main.sendText('too late', before);
    await clock.advance(100);
    expect(client.texts()).toEqual(['in time']);
    expect(nat.mappings).toBe(0);
    expect(await hello()).not.toEqual(before);
  });

  test.each([
    ['both', ['kept alive', 'reached']],
    ['outbound', ['kept alive']],
  ] as const)('are refreshed by %s', async (refresh, texts) => {
    const { clock, client, main, hello } = await conversation({ refresh, mappingLifetimeMs: 30_000 });
    const external = await hello();
    await clock.advance(20_000);
    main.sendText('kept alive', external);
    await clock.advance(20_000);
    main.sendText('reached', external);
    await clock.advance(100);
    expect(client.texts()).toEqual(texts);
  });

  test('cost no timer, so that nothing is left running', async () => {
    const { clock, hello } = await conversation({});
    await hello();
    expect(clock.pendingTimers).toBe(0);
  });

  test('count what they refuse: no mapping, or filtered', async () => {
    const { clock, internet, main, other, nat, hello } = await conversation(natKinds.portRestricted);
    const external = await hello();
    other.sendText('stranger', external);
    main.sendText('no such port', { address: nat.externalAddress, port: 6_000 });
    await clock.advance(100);
    expect(internet.counters.dropped).toEqual({ filtered: 1, 'no-mapping': 1 });
  });

  test('take the next free port when two hosts use the same', async () => {
    const { clock, simulation, nat, server, main, hello } = await conversation(natKinds.portRestricted);
    expect((await hello()).port).toBe(5_000);
    const twin = await simulation.bind(nat.host(), { port: 5_000 });
    twin.sendText('me too', { address: server.address, port: 1 });
    await clock.advance(100);
    expect(main.received.at(-1)!.from.port).toBe(5_001);
  });

  test('run out when the range is used up', async () => {
    const { clock, simulation, internet, host, server, hello } = await conversation({ portRange: [7_000, 7_001] });
    expect((await hello()).port).toBeGreaterThanOrEqual(7_000);
    for (let count = 0; count < 3; count++) {
      (await simulation.bind(host)).sendText('x', { address: server.address, port: 1 });
    }
    await clock.advance(100);
    expect(internet.counters.dropped).toEqual({ 'no-port-left': 2 });
  });

  test('are lost when the router restarts, and the same port may come back', async () => {
    const { clock, client, main, nat, hello } = await conversation(natKinds.portRestricted);
    const before = await hello();
    nat.flush();
    main.sendText('lost', before);
    await clock.advance(100);
    expect(client.texts()).toEqual([]);
    expect(await hello()).toEqual(before);
  });

  test('move to other ports on a rebinding (C11)', async () => {
    const { clock, client, main, nat, hello } = await conversation(natKinds.portRestricted);
    const before = await hello();
    nat.rebind();
    const after = await hello();
    expect(after.address).toBe(before.address);
    expect(after.port).not.toBe(before.port);
    main.sendText('old', before);
    main.sendText('new', after);
    await clock.advance(100);
    expect(client.texts()).toEqual(['new']);
  });

  test('move to another address when the provider gives one (C11)', async () => {
    const { internet, clock, client, main, nat, hello } = await conversation(natKinds.fullCone);
    const before = await hello();
    nat.changeExternalAddress();
    const after = await hello();
    expect([before.address === after.address, after.address]).toEqual([false, nat.externalAddress]);
    main.sendText('old', before);
    main.sendText('new', after);
    await clock.advance(100);
    expect(client.texts()).toEqual(['new']);
    expect(internet.counters.dropped).toEqual({ 'no-route': 1 });
  });

  test('made by request let everybody in, are used outwards too, and can be removed', async () => {
    const { clock, client, other, nat, host, hello } = await conversation(natKinds.symmetricRandom);
    const remove = nat.forward('udp', { address: host.address, port: 5_000 }, 40_000)!;
    expect(nat.forward('udp', { address: host.address, port: 5_001 }, 40_000)).toBeUndefined();
    await clock.advance(86_400_000);
    const external = { address: nat.externalAddress, port: 40_000 };
    other.sendText('stranger', external);
    await clock.advance(100);
    expect(client.texts()).toEqual(['stranger']);
    expect(await hello()).toEqual(external);
    remove();
    other.sendText('gone', external);
    await clock.advance(100);
    expect(client.texts()).toEqual(['stranger']);
    expect(await hello()).not.toEqual(external);
  });
});

describe('hairpinning', () => {
  const hairpin = async (options: NatOptions) => {
    const { clock, internet, simulation, nat, client, hello } = await conversation(options);
    const target = await hello();
    const neighbour = await simulation.bind(nat.host(), { port: 6_000 });
    neighbour.sendText('over the top', target);
    await clock.advance(100);
    return { from: client.received[0]?.from, internet, nat };
  };

  test('is off by default', async () => {
    const { from, internet } = await hairpin(natKinds.fullCone);
    expect(from).toBeUndefined();
    expect(internet.counters.dropped).toEqual({ 'no-hairpin': 1 });
  });

  test('shows the external or the internal source', async () => {
    const external = await hairpin({ ...natKinds.fullCone, hairpin: 'external-source' });
    expect(external.from).toEqual({ address: external.nat.externalAddress, port: 6_000 });
    const internal = await hairpin({ ...natKinds.fullCone, hairpin: 'internal-source' });
    expect(internal.from).toEqual({ address: '192.168.1.3', port: 6_000 });
  });

  test('is filtered like everything else', async () => {
    const { from, internet } = await hairpin({ ...natKinds.portRestricted, hairpin: 'external-source' });
    expect(from).toBeUndefined();
    expect(internet.counters.dropped).toEqual({ filtered: 1 });
  });
});

describe('two layers and no layer', () => {
  test('CGNAT translates twice, and two homes of one carrier meet at its hairpin', async () => {
    const simulation = new Simulation();
    const { clock, internet } = simulation;
    const carrier = internet.nat({ filtering: independent, hairpin: 'external-source', subnet: '100.64.0.0/10' });
    const homes = [carrier.nat(natKinds.fullCone), carrier.nat(natKinds.fullCone)];
    expect(homes.map((home) => home.externalAddress)).toEqual(['100.64.0.2', '100.64.0.3']);
    const hosts = homes.map((home) => home.host());
    expect(hosts.map((host) => host.address)).toEqual(['192.168.1.2', '192.168.1.2']);
    const serverHost = internet.host();
    const server = await simulation.bind(serverHost, { port: 1 });
    const [left, right] = [await simulation.bind(hosts[0]!), await simulation.bind(hosts[1]!)];
    for (const { sendText } of [left!, right!]) sendText('hello', { address: serverHost.address, port: 1 });
    await clock.advance(100);
    const [leftSeen, rightSeen] = server.received.map(({ from }) => from);
    expect([leftSeen!.address, rightSeen!.address]).toEqual([carrier.externalAddress, carrier.externalAddress]);
    left!.sendText('neighbour', rightSeen!);
    await clock.advance(100);
    expect(right!.received).toMatchObject([{ text: 'neighbour', from: leftSeen }]);
  });

  test('natKinds.cgnat makes both boxes', async () => {
    const simulation = new Simulation();
    const home = simulation.internet.nat(natKinds.cgnat);
    expect(home.externalAddress).toBe('100.64.0.2');
    const server = simulation.internet.host();
    const seen = await simulation.bind(server, { port: 1 });
    (await simulation.bind(home.host())).sendText('x', { address: server.address, port: 1 });
    await simulation.clock.advance(100);
    expect(seen.received[0]!.from.address).toBe('11.0.0.1');
  });

  test('IPv6 passes a NAT untranslated, through a stateful firewall', async () => {
    const simulation = new Simulation(1, { ipv6: true });
    const { clock, internet } = simulation;
    const host = internet
      .nat({ ...natKinds.cgnat, ipv6: true, carrier: { ipv6: true, ...natKinds.cgnat.carrier } })
      .host();
    const client = await simulation.bind(host, { family: 6, port: 5_000 });
    const serverHost = internet.host();
    const server = await simulation.bind(serverHost, { family: 6, port: 1 });
    const inside = { address: host.address6, port: 5_000 };
    server.sendText('unasked', inside);
    await clock.advance(100);
    client.sendText('hello', { address: serverHost.address6.toUpperCase(), port: 1 });
    await clock.advance(100);
    expect(server.received).toMatchObject([{ text: 'hello', from: inside }]);
    server.sendText('welcome', inside);
    await clock.advance(100);
    expect(client.texts()).toEqual(['welcome']);
    expect(internet.counters.dropped).toEqual({ firewalled: 1 });
  });

  test('a rule decides what leaves', async () => {
    const simulation = new Simulation();
    const { clock, internet } = simulation;
    const server = internet.host();
    const sockets = [await simulation.bind(server, { port: 40_611 }), await simulation.bind(server, { port: 32_100 })];
    const nat = internet.nat({ allows: ({ destinationPort }) => destinationPort !== 40_611 });
    const client = await simulation.bind(nat.host());
    for (const { socket } of sockets) client.sendText('x', { address: server.address, port: socket.local.port });
    await clock.advance(100);
    expect(sockets.map(({ texts }) => texts())).toEqual([[], ['x']]);
    expect(internet.counters.dropped).toEqual({ blocked: 1 });
    expect(nat.mappings).toBe(1);
  });

  test('TCP passes where UDP is blocked', async () => {
    const { clock, internet } = new Simulation();
    const host = internet.nat(natKinds.udpBlocked).host();
    const server = internet.host();
    const received: string[] = [];
    const onData = (data: Uint8Array) => received.push(new TextDecoder().decode(data));
    await server.network.listenTcp({ port: 443, onConnection: () => ({ onData }) });
    const to = { address: server.address, port: 443 };
    const connection = await clock.runUntil(host.network.connectTcp(to, { onData: () => {} }));
    connection.write(new TextEncoder().encode('through'));
    await clock.runUntil(connection.close());
    expect(received).toEqual(['through']);
  });
});

describe('hole punching with plain packets from both ends at once', () => {
  /** Both learn their external endpoint from a server, then send to the other's, every 50 ms for a second. */
  const punch = async (left: NatOptions, right: NatOptions, headStartMs = 0) => {
    const simulation = new Simulation(7);
    const { clock, internet } = simulation;
    const serverHost = internet.host();
    const server = await simulation.bind(serverHost, { port: 1 });
    const ends: TestSocket[] = [];
    const nats: SimulatedNat[] = [internet.nat(left), internet.nat(right)];
    for (const nat of nats) ends.push(await simulation.bind(nat.host()));
    ends.forEach(({ sendText }, at) => {
      sendText(String(at), { address: serverHost.address, port: 1 });
    });
    await clock.advance(100);
    const known = server.received.sort((a, b) => Number(a.text) - Number(b.text)).map(({ from }) => from);
    if (known.length < 2) return false;
    ends[0]!.sendText('punch', known[1]!);
    await clock.advance(headStartMs);
    for (let round = 0; round < 20; round++) {
      ends[0]!.sendText('punch', known[1]!);
      ends[1]!.sendText('punch', known[0]!);
      await clock.advance(50);
    }
    return ends.every(({ received }) => received.length > 0);
  };
  const cones: NatKind[] = ['open', 'firewall', 'fullCone', 'restrictedCone', 'portRestricted', 'cgnat'];
  const symmetric: NatKind[] = ['symmetricSequential', 'symmetricRandom', 'cgnatSymmetric'];

  test.each(cones)('%s gets through to every cone', async (kind) => {
    for (const other of cones) expect([other, await punch(natKinds[kind], natKinds[other])]).toEqual([other, true]);
  });

  test.each(symmetric)('%s does not get through to filtering by port, nor to its like', async (kind) => {
    for (const other of ['portRestricted', 'symmetricRandom', 'udpBlocked'] as const) {
      expect([other, await punch(natKinds[kind], natKinds[other])]).toEqual([other, false]);
    }
  });

  test('an early packet spoils the punch with Linux masquerade, but not when both start together', async () => {
    expect(await punch(natKinds.linuxMasquerade, natKinds.linuxMasquerade)).toBe(true);
    expect(await punch(natKinds.linuxMasquerade, natKinds.linuxMasquerade, 200)).toBe(false);
    expect(await punch(natKinds.portRestricted, natKinds.portRestricted, 200)).toBe(true);
  });
});
