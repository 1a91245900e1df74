import { errorCode } from '@towpath/core';
import { type NatOptions, natKinds, nineNats, type SimulatedHost } from '@towpath/net/simulated';
import { describe, expect, test } from 'vitest';
import { type DiscoverNatOptions, discoverNat } from '../src/behaviour/discover.ts';
import { measureMappingLifetime } from '../src/behaviour/mapping-lifetime.ts';
import { classifyMapping, classifyPorts } from '../src/behaviour/nat-report.ts';
import * as attr from '../src/message/attributes.ts';
import { MessageClass, Method } from '../src/message/header.ts';
import { decodeStun } from '../src/message/stun-message.ts';
import { StunWriter } from '../src/message/stun-writer.ts';
import { BindingResponder } from '../src/server/binding-responder.ts';
import { StunServer } from '../src/server/stun-server.ts';
import { type World, world } from './support/internet.ts';

/** A server with two addresses and two ports. */
async function fullServer({ internet, clock }: World): Promise<StunServer> {
  const host = internet.host();
  const second = host.join(internet.network);
  return StunServer.listen(
    { network: host.network, clock },
    { address: host.address, port: 3478, alternate: { address: second.addresses[0], port: 3479 } },
  );
}

async function plainServer({ internet, clock }: World, port = 3478): Promise<StunServer> {
  const host = internet.host();
  return StunServer.listen({ network: host.network, clock }, { address: host.address, port });
}

function discover(
  at: World,
  host: SimulatedHost,
  options: Partial<DiscoverNatOptions> & Pick<DiscoverNatOptions, 'servers'>,
) {
  const { clock, random } = at;
  return clock.runUntil(
    discoverNat({ network: host.network, clock, random }, { localAddress: host.address, ...options }),
  );
}

describe('NAT behaviour with a server of two addresses', () => {
  test.each(nineNats)(
    'names $mapping mapping with $filtering filtering: $name',
    async ({ mapping, filtering, name }) => {
      const at = world();
      const server = await fullServer(at);
      const host = at.internet.nat({ mapping, filtering, ports: 'random' }).host();
      const found = await discover(at, host, { servers: [server.local] });
      expect(found).toMatchObject({ udp: true, mapping, filtering, name, ports: 'random' });
      expect(found.elapsedMs).toBeLessThan(3_000);
      expect(found.mapped?.address).not.toBe(host.address);
      await server.close();
      expect(at.internet.openSockets).toBe(0);
      expect(at.clock.pendingTimers).toBe(0);
    },
  );

  test.each(nineNats)(
    'names $name in nineteen of twenty runs when a fifth of all exchanges is lost',
    async ({ mapping, filtering }) => {
      let right = 0;
      for (let seed = 0; seed < 20; seed++) {
        const at = world(seed, { link: { delayMs: 10, lossRatio: 0.05 } });
        const server = await fullServer(at);
        const host = at.internet.nat({ mapping, filtering, ports: 'random' }).host();
        const found = await discover(at, host, { servers: [server.local] });
        if (found.mapping === mapping && found.filtering === filtering) right++;
        await server.close();
      }
      expect(right).toBeGreaterThanOrEqual(19);
    },
  );

  test.each<[string, NatOptions, object]>([
    ['keeps ports', { ports: 'preserving' }, { ports: 'preserving', portStep: undefined }],
    ['counts ports', { ports: 'sequential' }, { ports: 'sequential', portStep: 1 }],
    ['counts ports in twos', { ports: 'sequential', portStep: 2 }, { ports: 'sequential', portStep: 2 }],
    ['counts ports backwards', { ports: 'sequential', portStep: -1 }, { ports: 'sequential', portStep: -1 }],
    ['counts per remote', natKinds.symmetricSequential, { ports: 'sequential', portStep: 1 }],
    ['counts per remote address', { ...natKinds.addressDependent, ports: 'sequential' }, { ports: 'sequential' }],
    ['draws ports per remote', natKinds.symmetricRandom, { ports: 'random', portStep: undefined }],
  ])('tells that a NAT %s', async (_what, options, expected) => {
    const at = world();
    const server = await fullServer(at);
    const found = await discover(at, at.internet.nat(options).host(), { servers: [server.local] });
    expect(found).toMatchObject(expected);
    await server.close();
  });

  test.each([
    ['external-source', true],
    ['internal-source', true],
    ['off', false],
  ] as const)('tells hairpinning "%s" as %s', async (hairpin, expected) => {
    const at = world();
    const server = await fullServer(at);
    const found = await discover(at, at.internet.nat({ ...natKinds.portRestricted, hairpin }).host(), {
      servers: [server.local],
    });
    expect(found.hairpin).toBe(expected);
    await server.close();
  });

  test.each([
    ['open', { mapping: 'none', name: 'no NAT', meaning: 'Direct connections work with all peers.' }],
    ['firewall', { mapping: 'none', name: 'no NAT, firewall' }],
    ['linuxMasquerade', { mapping: 'endpoint-independent', name: 'port-restricted cone', ports: 'preserving' }],
    ['cgnat', { mapping: 'endpoint-independent', name: 'port-restricted cone' }],
    ['cgnatSymmetric', { mapping: 'address-and-port-dependent', name: 'symmetric' }],
    ['udpBlocked', { udp: false, name: 'UDP blocked' }],
  ] as const)('names what people call %s', async (kind, expected) => {
    const at = world();
    const server = await fullServer(at);
    const found = await discover(at, at.internet.nat(natKinds[kind]).host(), { servers: [server.local] });
    expect(found).toMatchObject(expected);
    expect(found.findings.every((sentence) => sentence.endsWith('.'))).toBe(true);
    expect(found.elapsedMs).toBeLessThan(3_000);
    await server.close();
  });

  test('works over IPv6, where nothing is translated', async () => {
    const at = world(1, { ipv6: true });
    const host = at.internet.host();
    const server = await StunServer.listen(
      { network: host.network, clock: at.clock },
      { address: host.address6, alternate: { port: 3479 } },
    );
    const laptop = at.internet.nat({ ipv6: true }).host();
    const found = await discover(at, laptop, { servers: [server.local], localAddress: laptop.address6 });
    expect(found).toMatchObject({ udp: true, mapping: 'none' });
    await server.close();
  });
});

test("a server's second address among the servers does not make counted ports look random", async () => {
  const at = world();
  const host = at.internet.host();
  const second = host.join(at.internet.network).addresses[0]!;
  const server = await StunServer.listen(
    { network: host.network, clock: at.clock },
    { address: host.address, port: 3478, alternate: { address: second, port: 3479 } },
  );
  const found = await discover(at, at.internet.nat(natKinds.symmetricSequential).host(), {
    servers: [server.local, { address: second, port: 3478 }],
  });
  expect(found).toMatchObject({ name: 'symmetric', ports: 'sequential', portStep: 1 });
  await server.close();
});

describe('NAT behaviour with plain servers', () => {
  test('two of them tell a cone from a symmetric NAT', async () => {
    for (const [kind, mapping] of [
      ['portRestricted', 'endpoint-independent'],
      ['symmetricRandom', 'endpoint-dependent'],
    ] as const) {
      const at = world();
      const servers = [await plainServer(at), await plainServer(at)];
      const found = await discover(at, at.internet.nat(natKinds[kind]).host(), {
        servers: servers.map(({ local }) => local),
      });
      expect(found).toMatchObject({ mapping, filtering: 'unknown' });
      expect(found.servers.map(({ canChange }) => canChange)).toEqual([false, false]);
      await Promise.all(servers.map((server) => server.close()));
    }
  });

  test('one of them tells the address and not more', async () => {
    const at = world();
    const server = await plainServer(at);
    const found = await discover(at, at.internet.nat(natKinds.symmetricRandom).host(), { servers: [server.local] });
    expect(found).toMatchObject({ udp: true, mapping: 'unknown', filtering: 'unknown', name: 'unknown NAT' });
    await server.close();
  });

  test('a second port of one address tells port dependence', async () => {
    const at = world();
    const host = at.internet.host();
    const server = await StunServer.listen(
      { network: host.network, clock: at.clock },
      { address: host.address, alternate: { port: 3479 } },
    );
    const found = await discover(at, at.internet.nat(natKinds.symmetricRandom).host(), { servers: [server.local] });
    expect(found.mapping).toBe('address-and-port-dependent');
    await server.close();
  });

  test('a second address that cannot be reached is not taken for a filter', async () => {
    const at = world();
    const host = at.internet.host();
    const responder = new BindingResponder({ other: { address: '10.9.9.9', port: 3479 } });
    const socket = await host.network.bindUdp({
      address: host.address,
      port: 3478,
      onMessage(data, from) {
        const answer = responder.plainAnswer(data, from);
        if (answer !== undefined) socket.send(answer, from);
      },
    });
    const found = await discover(at, at.internet.nat(natKinds.fullCone).host(), { servers: [socket.local] });
    expect(found).toMatchObject({ udp: true, mapping: 'unknown', filtering: 'unknown' });
    await socket.close();
  });

  test('a dead server among them costs no more than its time-out', async () => {
    const at = world();
    const full = await fullServer(at);
    const dead = { address: at.internet.host().address, port: 3478 };
    const found = await discover(at, at.internet.nat(natKinds.fullCone).host(), { servers: [dead, full.local] });
    expect(found.name).toBe('full cone');
    expect(found.servers.find(({ server }) => server === dead)?.error).toMatch(/No answer/);
    expect(found.elapsedMs).toBeLessThan(3_000);
    await full.close();
  });
});

describe('discovery as an operation', () => {
  test('leaves no socket and no timer when it is aborted', async () => {
    const at = world();
    const server = await fullServer(at);
    const stop = new AbortController();
    const pending = discoverNat(
      { network: at.internet.nat().host().network, clock: at.clock, random: at.random },
      { servers: [server.local], signal: stop.signal },
    );
    pending.catch(() => {});
    await at.clock.advance(60);
    stop.abort(new Error('enough'));
    await expect(pending).rejects.toThrow('enough');
    await server.close();
    await at.clock.advance(0);
    expect(at.internet.openSockets).toBe(0);
  });

  test('gives the same packets for the same seed', async () => {
    const run = async () => {
      const at = world(7);
      const trace: string[] = [];
      at.internet.observe((event) => trace.push(JSON.stringify(event)));
      const server = await fullServer(at);
      await discover(at, at.internet.nat(natKinds.symmetricRandom).host(), { servers: [server.local] });
      await server.close();
      return trace;
    };
    const first = await run();
    expect(first.length).toBeGreaterThan(30);
    expect(await run()).toEqual(first);
  });
});

describe('the lifetime of mappings', () => {
  test.each([30_000, 65_000, 120_000])(
    'of %i ms is measured to within 5 s, in bounded time',
    async (mappingLifetimeMs) => {
      const at = world();
      const server = await fullServer(at);
      const { network } = at.internet.nat({ ...natKinds.portRestricted, mappingLifetimeMs }).host();
      const startedAt = at.clock.now();
      const found = await at.clock.runUntil(
        measureMappingLifetime({ network, clock: at.clock, random: at.random }, { server: server.local }),
      );
      expect(found.atLeastMs).toBeLessThanOrEqual(mappingLifetimeMs);
      expect(found.belowMs).toBeGreaterThanOrEqual(mappingLifetimeMs);
      expect(found.belowMs! - found.atLeastMs).toBeLessThanOrEqual(5_000);
      expect(at.clock.now() - startedAt).toBeLessThan(4 * mappingLifetimeMs);
      await server.close();
      expect(at.internet.openSockets).toBe(0);
      expect(at.clock.pendingTimers).toBe(0);
    },
  );

  test('beyond the longest time tried is reported as such', async () => {
    const at = world();
    const server = await fullServer(at);
    const { network } = at.internet.nat({ ...natKinds.portRestricted, mappingLifetimeMs: 600_000 }).host();
    const found = await at.clock.runUntil(
      measureMappingLifetime({ network, clock: at.clock, random: at.random }, { server: server.local, maxMs: 60_000 }),
    );
    expect(found).toEqual({ atLeastMs: 60_000, belowMs: undefined, keepAliveMs: 25_000 });
    await server.close();
  });

  test('cannot be measured without a server', async () => {
    const at = world();
    const { network } = at.internet.nat().host();
    const server = { address: at.internet.host().address, port: 3478 };
    const failed = measureMappingLifetime({ network, clock: at.clock, random: at.random }, { server }).catch(errorCode);
    expect(await at.clock.runUntil(failed)).toBe('stun-timed-out');
  });
});

describe('classification', () => {
  const seen = (address: string, port: number, external: number) => ({
    destination: { address, port },
    mapped: { address: '192.0.2.1', port: external },
  });

  test.each([
    ['nothing', [], 'unknown'],
    ['one destination', [seen('a', 1, 5)], 'unknown'],
    ['two ports of one address, equal', [seen('a', 1, 5), seen('a', 2, 5)], 'unknown'],
    ['two ports of one address, different', [seen('a', 1, 5), seen('a', 2, 6)], 'address-and-port-dependent'],
    ['two addresses, equal', [seen('a', 1, 5), seen('b', 1, 5)], 'endpoint-independent'],
    ['two addresses, different', [seen('a', 1, 5), seen('b', 1, 6)], 'endpoint-dependent'],
    ['address-dependent', [seen('a', 1, 5), seen('a', 2, 5), seen('b', 1, 6)], 'address-dependent'],
  ] as const)('of the mapping from %s', (_what, observations, expected) => {
    expect(classifyMapping(observations)).toBe(expected);
  });

  test('of ports does not take chance for counting', () => {
    const ports = (...externals: number[]) => externals.map((external, at) => ({ internal: 100 + 7 * at, external }));
    expect(classifyPorts(ports(500, 501, 502), []).ports).toBe('sequential');
    expect(classifyPorts(ports(500, 501, 700), []).ports).toBe('random');
    expect(classifyPorts(ports(500, 700, 900), []).ports).toBe('random');
    expect(classifyPorts(ports(500, 501), []).ports).toBe('unknown');
  });
});

describe('servers that lie', () => {
  /** A server whose n-th answer has these attributes. */
  async function liar(at: World, write: (writer: StunWriter, n: number) => StunWriter) {
    const host = at.internet.host();
    let count = 0;
    const socket = await host.network.bindUdp({
      port: 3478,
      onMessage(data, from) {
        const request = decodeStun(data);
        if (!request.ok) return;
        const answer = new StunWriter(MessageClass.Success, Method.Binding, request.message.transactionId);
        socket.send(write(answer, ++count).finish(), from);
      },
    });
    return { server: { address: host.address, port: 3478 }, close: () => socket.close() };
  }

  test.each([
    ['0.0.0.0', 1_000],
    ['239.1.2.3', 1_000],
    ['255.255.255.255', 1_000],
    ['198.51.100.1', 0],
  ])('nobody has the address %s, port %i', async (address, port) => {
    const at = world();
    const { server, close } = await liar(at, (writer) => writer.add(attr.xorMappedAddress, { address, port }));
    const found = await discover(at, at.internet.nat(natKinds.fullCone).host(), { servers: [server] });
    expect(found).toMatchObject({ udp: false, mapped: undefined });
    expect(found.servers[0]?.error).toContain('without an address that can be ours');
    await close();
    expect(at.internet.openSockets).toBe(0);
  });

  test('nothing is sent to a second address that is of no host', async () => {
    const at = world();
    const { server, close } = await liar(at, (writer) =>
      writer
        .add(attr.xorMappedAddress, { address: '198.51.100.1', port: 1_000 })
        .add(attr.otherAddress, { address: '255.255.255.255', port: 9 }),
    );
    const found = await discover(at, at.internet.nat(natKinds.fullCone).host(), { servers: [server] });
    expect(found.servers[0]?.canChange).toBe(false);
    await close();
  });

  test('an answer without an address ends no measurement', async () => {
    const at = world();
    const { server, close } = await liar(at, (writer, n) =>
      n === 1 ? writer.add(attr.xorMappedAddress, { address: '198.51.100.1', port: 1_000 }) : writer,
    );
    const found = await discover(at, at.internet.nat(natKinds.fullCone).host(), { servers: [server] });
    expect(found).toMatchObject({ udp: true, mapped: { address: '198.51.100.1', port: 1_000 }, ports: 'unknown' });
    await close();
    expect([at.internet.openSockets, at.clock.pendingTimers]).toEqual([0, 0]);
  });
});
