import { AbortedError, errorCode, SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import {
  type NatOptions,
  natKinds,
  nineNats,
  type SimulatedHost,
  SimulatedInternet,
  type SimulatedNat,
} from '@towpath/net/simulated';
import { StunServer, TurnServer } from '@towpath/stun/server';
import { describe, expect, test, vi } from 'vitest';
import { GatewayResponder } from '../../portmap/test/gateway-responder.ts';
import { describeNetcheck, type NetcheckOptions, type NetcheckReport, netcheck } from '../src/index.ts';

class World {
  readonly clock = new VirtualClock();
  readonly random = new SeededRandom(1);
  readonly internet: SimulatedInternet;
  readonly #open: AsyncDisposable[] = [];

  constructor(options: { ipv6?: boolean } = {}) {
    this.internet = new SimulatedInternet({ clock: this.clock, random: new SeededRandom(2) }, options);
  }

  /** A STUN server with two addresses and two ports, which also answers over TCP. */
  async server(): Promise<{ host: string; port: number }> {
    const host = this.internet.host();
    const second = host.join(this.internet.network);
    const { network } = host;
    const init = { address: host.address, port: 3478, alternate: { address: second.addresses[0], port: 3479 } };
    this.#open.push(await StunServer.listen({ network, clock: this.clock }, init));
    await this.#tcp(host, host.address, 'tcp');
    return { host: host.address, port: 3478 };
  }

  /** A server of IPv6 alone. */
  async server6(): Promise<{ host: string }> {
    const host = this.internet.host();
    this.#open.push(await StunServer.listen({ network: host.network, clock: this.clock }, { address: host.address6 }));
    return { host: host.address6 };
  }

  /** A relay that is reached by UDP, TCP and TLS. */
  async relay(delayMs = 10): Promise<{ host: string; tlsPort: number }> {
    const host = this.internet.host({ link: { delayMs } });
    await this.#tcp(host, host.address, 'udp', 'tcp', 'tls');
    return { host: host.address, tlsPort: 5349 };
  }

  async #tcp(host: SimulatedHost, address: string, ...transports: ('udp' | 'tcp' | 'tls')[]): Promise<void> {
    const { clock, random } = this;
    const server = await TurnServer.listen(
      { network: host.network, clock, random },
      {
        listeners: transports.map((transport) => ({ transport, address, tls: { cert: '', key: '' } })),
        relay: [{ address }],
        credentials: {},
      },
    );
    this.#open.push(server);
  }

  async gateway(nat: SimulatedNat): Promise<GatewayResponder> {
    const responder = new GatewayResponder(nat, 'pcp');
    await responder.start();
    this.#open.push({ [Symbol.asyncDispose]: () => responder.close() });
    return responder;
  }

  check(host: SimulatedHost, options: NetcheckOptions): Promise<NetcheckReport> {
    const { clock, random } = this;
    const components = { network: host.network, clock, random };
    return this.clock.runUntil(netcheck(components, { gateway: false, upnp: false, ...options }));
  }

  /** Ends the servers; nothing may be open then. */
  async close(): Promise<void> {
    for (const one of this.#open) await one[Symbol.asyncDispose]();
    await this.clock.advance(10_000);
    expect([this.internet.openSockets, this.clock.pendingTimers]).toEqual([0, 0]);
  }
}

const words = (report: NetcheckReport) =>
  describeNetcheck(report)
    .flatMap(({ lines }) => lines)
    .join('\n');

describe('netcheck', () => {
  test.each(nineNats)('names $name and says what it means, in under 3 s (C3)', async ({ mapping, filtering, name }) => {
    const at = new World();
    const servers = [await at.server()];
    const host = at.internet.nat({ mapping, filtering, ports: 'random' }).host();
    const report = await at.check(host, { servers });
    expect(report).toMatchObject({ kind: name, transport: 'udp', ipv4: { reachable: true } });
    expect(report.ipv4.nat).toMatchObject({ mapping, filtering });
    expect(report.elapsedMs).toBeLessThan(3_000);
    expect(report.reachability).toHaveLength(7);
    expect(words(report)).toContain(name);
    await at.close();
  });

  test('reports "TCP only" where UDP is blocked', async () => {
    const at = new World();
    const servers = [await at.server()];
    const report = await at.check(at.internet.nat(natKinds.udpBlocked).host(), { servers });
    expect(report).toMatchObject({ transport: 'tcp-only', kind: 'UDP blocked', ipv4: { reachable: true } });
    expect(report.ipv4.external?.address).toMatch(/^11\./);
    expect(new Set(report.reachability.map(({ reachability }) => reachability))).toEqual(new Set(['relay']));
    expect(words(report)).toContain('TCP only');
    expect(report.elapsedMs).toBeLessThan(3_000);
    await at.close();
  });

  test('measures the shortest round trip to each relay over UDP, TCP and TLS', async () => {
    const at = new World();
    const relays = [await at.relay(40), await at.relay(5)];
    const report = await at.check(at.internet.nat(natKinds.fullCone).host(), { relays });
    expect(report.servers.map(({ role }) => role)).toEqual(['relay', 'relay']);
    for (const [index, delayMs] of [40, 5].entries()) {
      const transports = report.servers[index]?.transports ?? [];
      expect(transports.map(({ transport }) => transport)).toEqual(['udp', 'tcp', 'tls']);
      // The laptop's LAN and its provider's link add 10.25 ms each way.
      for (const { rttMs } of transports) expect(rttMs).toBeCloseTo(2 * (delayMs + 10.25), 0);
    }
    await at.close();
  });

  test('a lost packet does not increase the measured round-trip time', async () => {
    const at = new World();
    const relays = [await at.relay()];
    const nat = at.internet.nat({ ...natKinds.fullCone, link: { delayMs: 10, lossRatio: 0.2 } });
    const report = await at.check(nat.host(), { relays });
    expect(report.servers[0]?.transports[0]?.rttMs).toBeCloseTo(2 * 20.25, 0);
    await at.close();
  });

  test('reports what two servers with one address each cannot measure', async () => {
    const at = new World();
    const relays = [await at.relay(), await at.relay()];
    const report = await at.check(at.internet.nat(natKinds.symmetricRandom).host(), { relays });
    expect(report).toMatchObject({ kind: 'symmetric', ipv4: { nat: { filtering: 'unknown' } } });
    expect(words(report)).toContain('needs a server that answers from a second address');
    await at.close();
  });

  test('continues without a server that is down, and names it', async () => {
    const at = new World();
    const dead = { host: at.internet.host().address, tlsPort: 5349 };
    const servers = [dead, await at.server()];
    const report = await at.check(at.internet.nat(natKinds.restrictedCone).host(), { servers });
    expect(report.kind).toBe('address-restricted cone');
    expect(report.servers[0]?.best).toBeUndefined();
    expect(report.servers[0]?.transports.map(({ error }) => error?.code)).toEqual([
      'timed-out',
      'connection-refused',
      'connection-refused',
    ]);
    expect(words(report)).toMatch(/no answer/);
    expect(report.elapsedMs).toBeLessThan(3_000);
    await at.close();
  });

  test('distinguishes a network that is down from one that blocks UDP', async () => {
    const at = new World();
    const servers = [await at.server()];
    const host = at.internet.nat(natKinds.fullCone).host();
    host.unplug();
    const unplugged = await at.check(host, { servers });
    expect(unplugged).toMatchObject({ transport: 'nothing', addresses: [], ipv4: { reachable: false } });
    expect(unplugged.ipv4.why).toBe('This machine has no IPv4 address.');
    const other = at.internet.nat({ allows: () => false }).host();
    const blocked = await at.check(other, { servers });
    expect(blocked).toMatchObject({ transport: 'nothing', reachability: [] });
    expect(blocked.ipv4.why).toMatch(/No server answered over/);
    expect(blocked.meaning).toMatch(/^No server answered/);
    expect(blocked.elapsedMs).toBeLessThan(3_000);
    await at.close();
  });

  test('reports that no server was given', async () => {
    const at = new World();
    const report = await at.check(at.internet.nat(natKinds.fullCone).host(), {});
    expect(report).toMatchObject({ transport: 'unknown', kind: 'unknown', ipv4: { reachable: undefined } });
    expect(words(report)).toContain('--server HOST:PORT');
    await at.close();
  });
});

describe('netcheck over IPv6', () => {
  test('distinguishes addresses that work from addresses that do not', async () => {
    const at = new World({ ipv6: true });
    const servers = [await at.server(), await at.server6()];
    const home = at.internet.nat({ ...natKinds.symmetricRandom, ipv6: true }).host();
    const works = await at.check(home, { servers });
    expect(works).toMatchObject({ kind: 'symmetric', ipv6: { reachable: true, nat: { mapping: 'none' } } });
    expect(works.ipv6.external?.address).toBe(home.address6);
    expect(words(works)).toContain('Peers with IPv6');
    const old = at.internet.nat(natKinds.symmetricRandom).host();
    const lacks = await at.check(old, { servers });
    expect(lacks.ipv6).toMatchObject({ reachable: false, why: 'This machine has no IPv6 address.' });
    expect(words(lacks)).toContain('this machine has no address of that family that leads beyond its network');
    await at.close();
  });
});

describe('netcheck with addresses of the local network alone (G3)', () => {
  test.each([
    ['fe80::1', 6, 64, 'ipv6', 'This machine has no global IPv6 address.'],
    ['169.254.7.7', 4, 16, 'ipv4', 'This machine has no IPv4 address that leads beyond the local network.'],
  ] as const)('%s is listed, and what is missing is said', async (address, family, prefixLength, key, why) => {
    const at = new World({ ipv6: true });
    const host = at.internet.nat(natKinds.symmetricRandom).host();
    const only = { name: 'wlan0', address, family, prefixLength, internal: false };
    vi.spyOn(host.network, 'interfaces').mockReturnValue([only]);
    const report = await at.check(host, { servers: [{ host: '203.0.113.77' }] });
    expect(report[key]).toMatchObject({ verdict: 'no-address', reachable: false, why });
    expect(words(report)).toMatch(new RegExp(`wlan0 +${address}/${prefixLength} \\(link-local\\)`));
    expect(words(report)).toContain(why);
    await at.close();
  });
});

describe('netcheck and names (D1)', () => {
  const NAME = 'stun.example.org';
  const servers = [{ host: NAME }];

  /** A home with IPv6, and a server with a name. */
  async function named(options: { ipv6?: boolean } = {}) {
    const at = new World({ ipv6: true });
    const { host } = await at.server();
    const { host: host6 } = await at.server6();
    const { names } = at.internet;
    names.set(NAME, [host, host6]);
    const laptop = at.internet.nat({ ...natKinds.fullCone, ipv6: options.ipv6 ?? true }).host();
    return { at, names, laptop, host };
  }

  test('resolves names, of both families', async () => {
    const { at, laptop } = await named();
    const report = await at.check(laptop, { servers });
    expect(report).toMatchObject({ kind: 'full cone', ipv4: { verdict: 'works' }, ipv6: { verdict: 'works' } });
    expect(report.elapsedMs).toBeLessThan(3_000);
    await at.close();
  });

  test.each([
    ['silent', 'name-server-silent', 'could-not-ask'],
    ['failed', 'name-server-failed', 'could-not-ask'],
    ['not-found', 'name-not-found', 'no-server'],
  ] as const)(
    'a name server that is or answers "%s" says nothing about the network',
    async (behaviour, code, verdict) => {
      const { at, names, laptop } = await named();
      names.behave(behaviour);
      const report = await at.check(laptop, { servers, nameLimitMs: 6_000 });
      expect(report).toMatchObject({
        transport: 'unknown',
        unmeasured: 'names',
        kind: 'unknown',
        reachability: [],
        ipv4: { verdict, reachable: undefined },
        ipv6: { verdict, reachable: undefined },
        servers: [{ error: { code } }],
      });
      expect(report.meaning).toMatch(/^Nothing was measured\. .*stun\.example\.org/);
      expect(words(report)).not.toMatch(/No server answered|network is down|blocked/);
      await at.close();
    },
  );

  test('a name server that takes longer than the limit is not waited for', async () => {
    const { at, names, laptop } = await named();
    names.behave('silent');
    const report = await at.check(laptop, { servers });
    expect(report).toMatchObject({ transport: 'unknown', servers: [{ error: { code: 'timed-out' } }] });
    expect(report.elapsedMs).toBe(3_200);
    await at.close();
  });

  test('a slow name server does not shorten the measurements', async () => {
    const { at, names, laptop } = await named({ ipv6: false });
    names.delayMs = { 4: 3_000, 6: 3_000 };
    const report = await at.check(laptop, { servers });
    expect(report).toMatchObject({ transport: 'udp', kind: 'full cone' });
    await at.close();
  });

  test.each(['silent', 'failed'] as const)(
    'IPv4 answers are used at once while the question for IPv6 is %s, and IPv6 is not called down',
    async (behaviour) => {
      const { at, names, laptop } = await named();
      names.behave(behaviour, 6);
      const report = await at.check(laptop, { servers });
      expect(report).toMatchObject({
        transport: 'udp',
        kind: 'full cone',
        ipv4: { verdict: 'works' },
        ipv6: { verdict: 'could-not-ask', reachable: undefined },
        servers: [{ unresolved: [{ family: 6, couldNotAsk: true }] }],
      });
      expect(report.servers[0]?.error).toBeUndefined();
      expect(report.elapsedMs).toBeLessThan(3_000);
      expect(words(report)).toContain('IPv6          Not measured:');
      await at.close();
    },
  );

  test('one dead name among the servers does not hold the measurement up', async () => {
    const { at, names, laptop, host } = await named({ ipv6: false });
    names.behave('silent');
    const report = await at.check(laptop, { servers: [{ host }, ...servers] });
    expect(report).toMatchObject({ kind: 'full cone', servers: [{}, { error: { code: 'timed-out' } }] });
    await at.close();
  });

  test('the hosts file is read without a name server', async () => {
    const { at, names, laptop, host } = await named({ ipv6: false });
    names.behave('silent');
    laptop.hostsFile.set(NAME, [host]);
    const report = await at.check(laptop, { servers });
    expect(report).toMatchObject({ kind: 'full cone', ipv4: { verdict: 'works' } });
    expect(report.elapsedMs).toBeLessThan(3_000);
    await at.close();
  });

  test.each(['127.0.0.1', '127.0.1.1', '0.0.0.0', '224.0.0.1', '255.255.255.255'])(
    'a relay whose name resolves to %s is not tested, and the address is named (D1)',
    async (wrong) => {
      const { at, names, laptop } = await named({ ipv6: false });
      names.set('relay.example.org', [wrong]);
      const report = await at.check(laptop, { relays: [{ host: 'relay.example.org' }] });
      expect(report).toMatchObject({
        transport: 'unknown',
        unmeasured: 'names',
        kind: 'unknown',
        ipv4: { verdict: 'misdirected', reachable: undefined },
        servers: [{ transports: [], error: { code: 'name-misdirected' } }],
      });
      expect(report.meaning).toContain(`relay.example.org resolves to ${wrong}, `);
      expect(words(report)).not.toMatch(/No server answered|network is down|blocked/);
      await at.close();
    },
  );

  test.each(['::1', '::', 'ff02::1', '::ffff:127.0.0.1', '64:ff9b::7f00:1'])(
    'a name that resolves to %s beside a right IPv4 address is measured over IPv4, and the other is named (D1)',
    async (wrong) => {
      const { at, names, laptop, host } = await named();
      names.set('relay.example.org', [host, wrong]);
      const report = await at.check(laptop, { servers: [{ host: 'relay.example.org' }] });
      expect(report).toMatchObject({
        transport: 'udp',
        kind: 'full cone',
        ipv4: { verdict: 'works' },
        ipv6: { verdict: 'misdirected', reachable: undefined },
        servers: [{ unresolved: [{ family: 6, code: 'name-misdirected', couldNotAsk: false }] }],
      });
      expect(report.servers[0]?.error).toBeUndefined();
      expect(words(report)).toContain(`relay.example.org resolves to ${wrong}, `);
      await at.close();
    },
  );

  test('a right address of a family is used when the name also has a loopback one (D1)', async () => {
    const { at, names, laptop, host } = await named({ ipv6: false });
    names.set('relay.example.org', ['127.0.0.1', host]);
    const report = await at.check(laptop, { servers: [{ host: 'relay.example.org' }] });
    expect(report).toMatchObject({ kind: 'full cone', ipv4: { verdict: 'works' } });
    await at.close();
  });

  test.each(['localhost', 'relay.localhost', '127.0.0.1'])('%s is asked, as the user wants it (D1)', async (own) => {
    const { at, names, laptop } = await named({ ipv6: false });
    names.set(own, ['127.0.0.1']);
    const report = await at.check(laptop, { servers: [{ host: own }] });
    expect(report).toMatchObject({
      transport: 'nothing',
      servers: [{ unresolved: [] }],
    });
    expect(report.servers[0]?.transports[0]?.endpoint.address).toBe('127.0.0.1');
    expect(report.servers[0]?.error).toBeUndefined();
    await at.close();
  });

  test('a portal page whose name resolves to this machine tells nothing (D1)', async () => {
    const { at, names, laptop } = await named({ ipv6: false });
    names.set('page.example.org', ['0.0.0.0']);
    const report = await at.check(laptop, { portalUrl: 'http://page.example.org/' });
    expect(report.portal).toMatchObject({
      state: 'unknown',
      reason: expect.stringContaining('page.example.org resolves to 0.0.0.0'),
    });
    await at.close();
  });

  test('servers of another IP version are not called down', async () => {
    const { at, names, laptop } = await named({ ipv6: false });
    names.set(NAME, [(await at.server6()).host]);
    const report = await at.check(laptop, { servers });
    expect(report).toMatchObject({ transport: 'unknown', unmeasured: 'other-family', ipv4: { verdict: 'no-server' } });
    expect(words(report)).not.toContain('No server answered');
    await at.close();
  });
});

describe('findings of netcheck need a measurement (D1)', () => {
  test('a server that is down is no reason to call UDP blocked', async () => {
    const at = new World();
    const dead = { host: at.internet.host().address };
    const report = await at.check(at.internet.nat(natKinds.fullCone).host(), { servers: [dead] });
    expect(report).toMatchObject({ transport: 'nothing', kind: 'unknown', ipv4: { nat: undefined } });
    await at.close();
  });

  test('an IPv4 server that is down does not hide the NAT of IPv6', async () => {
    const at = new World({ ipv6: true });
    const servers = [{ host: at.internet.host({ ipv6: false }).address }, await at.server6()];
    const report = await at.check(at.internet.nat({ ...natKinds.fullCone, ipv6: true }).host(), { servers });
    expect(report).toMatchObject({ transport: 'udp', ipv4: { verdict: 'no-answer' }, ipv6: { verdict: 'works' } });
    expect(report.kind).toMatch(/^no NAT/);
    await at.close();
  });

  test('servers that two uplinks lead to are not compared (D2)', async () => {
    const at = new World();
    const first = await at.server();
    const office = at.internet.nat({ ...natKinds.fullCone, subnet: '192.168.2.0/24' });
    const laptop = at.internet.nat(natKinds.fullCone).host();
    // A server inside the second network is reached from another address than the first.
    const inside = office.host();
    laptop.join(office.lan);
    const near = await StunServer.listen(
      { network: inside.network, clock: at.clock },
      { address: inside.address, port: 3478 },
    );
    const report = await at.check(laptop, { servers: [{ host: inside.address }, first] });
    expect(report).toMatchObject({
      kind: 'full cone',
      ipv4: { external: { address: expect.stringMatching(/^11\./) } },
    });
    expect(report.ipv4.nat?.servers.find(({ server }) => server.address === inside.address)?.error).toMatch(
      /route leaves by eth1 .* not compared/,
    );
    await near.close();
    await at.close();
  });
});

describe('netcheck at the gateway', () => {
  const withGateway = async (options: NatOptions) => {
    const at = new World();
    const servers = [await at.server()];
    const nat = at.internet.nat(options);
    const responder = await at.gateway(nat);
    return { at, servers, nat, responder, laptop: nat.host(), gateway: nat.gateway.address };
  };

  test('queries its services without creating a mapping', async () => {
    const { at, servers, nat, responder, laptop, gateway } = await withGateway(natKinds.portRestricted);
    const report = await at.check(laptop, { servers, gateway });
    expect(report).toMatchObject({
      gateway,
      beyondGateway: 'no-nat',
      portMapping: {
        services: { pcp: { state: 'answers' }, natPmp: { state: 'answers', externalAddress: nat.externalAddress } },
      },
    });
    expect(responder.requests).toEqual([]);
    await at.close();
  });

  test('creates a test mapping on request and deletes it (C3)', async () => {
    const { at, servers, nat, responder, laptop, gateway } = await withGateway(natKinds.portRestricted);
    const report = await at.check(laptop, { servers, gateway, portMapping: 'map' });
    expect(report.portMapping?.mapped).toMatchObject({ via: 'pcp', external: { address: nat.externalAddress } });
    expect(responder.requests.length).toBeGreaterThan(1);
    expect(responder.leases.size).toBe(0);
    expect(words(report)).toMatch(/Test mapping by pcp to .* created and deleted/);
    await at.close();
  });

  test('reports why no mapping could be created', async () => {
    const { at, servers, responder, laptop, gateway } = await withGateway(natKinds.portRestricted);
    responder.habit = 'refuse';
    const report = await at.check(laptop, { servers, gateway, portMapping: 'map' });
    expect(report.portMapping?.error).toMatchObject({ code: 'no-mapping' });
    expect(words(report)).toContain('switched off at the gateway');
    await at.close();
  });

  test('detects a provider NAT behind the local NAT', async () => {
    const { at, servers, laptop, gateway } = await withGateway(natKinds.cgnat);
    const report = await at.check(laptop, { servers, gateway });
    expect(report).toMatchObject({ beyondGateway: 'provider-nat', kind: 'port-restricted cone' });
    expect(words(report)).toContain('uses another NAT (CGNAT)');
    await at.close();
  });

  test.each([
    ['192.168.7.2', 'another-nat', /Another NAT follows the router/],
    ['11.99.99.99', 'unclear', /several uplinks, or another NAT/],
  ])('a router with the address %s', async (external, expected, text) => {
    const { at, servers, responder, laptop, gateway } = await withGateway(natKinds.portRestricted);
    responder.externalAddress = external;
    const report = await at.check(laptop, { servers, gateway });
    expect(report.beyondGateway).toBe(expected);
    expect(words(report)).toMatch(text);
    expect(words(report)).not.toContain('provider uses');
    await at.close();
  });

  test('a router that is not on the path is not compared (D2)', async () => {
    const { at, servers, laptop, nat } = await withGateway(natKinds.portRestricted);
    const other = at.internet.nat({ ...natKinds.portRestricted, subnet: '192.168.2.0/24' });
    const responder = await at.gateway(other);
    responder.externalAddress = '192.168.7.2';
    laptop.join(other.lan);
    const report = await at.check(laptop, { servers, gateway: other.gateway.address });
    expect(report.portMapping?.services.natPmp).toMatchObject({ state: 'answers', externalAddress: '192.168.7.2' });
    expect(report.ipv4.external?.address).toBe(nat.externalAddress);
    expect(report.beyondGateway).toBeUndefined();
    expect(words(report)).not.toContain('another NAT');
    await at.close();
  });

  test('says that a mapping stays when its deletion is not confirmed (D3)', async () => {
    const { at, servers, responder, laptop, gateway } = await withGateway(natKinds.portRestricted);
    responder.keepsMappings = true;
    const report = await at.check(laptop, { servers, gateway, portMapping: 'map' });
    expect(report.portMapping?.mapped).toMatchObject({ via: 'pcp', deleted: false });
    expect(words(report)).toContain('did not confirm its deletion, so it ends after 120 s');
    await at.close();
  });
});

describe('netcheck and captive portals', () => {
  test.each([
    ['204 No Content', '', { state: 'open', status: 204 }],
    ['302 Found', 'Location: http://login.example/\r\n', { state: 'portal', location: 'http://login.example/' }],
    ['200 OK', 'Content-Type: text/html\r\n', { state: 'portal', status: 200 }],
    ['511 Network Authentication Required', '', { state: 'portal', status: 511 }],
    ['301 Moved', 'Location: /elsewhere\r\n', { state: 'unknown', reason: expect.stringContaining('own host') }],
    ['404 Not Found', '', { state: 'unknown', reason: expect.stringContaining('404 instead of 204') }],
  ])('a page that answers %s', async (status, headers, expected) => {
    const at = new World();
    const host = at.internet.host();
    const requests: string[] = [];
    const listener = await host.network.listenTcp({
      port: 80,
      onConnection: (connection) => ({
        onData(data) {
          requests.push(String(Buffer.from(data)));
          connection.write(Buffer.from(`HTTP/1.1 ${status}\r\n${headers}\r\n`));
        },
      }),
    });
    const laptop = at.internet.nat(natKinds.fullCone).host();
    const report = await at.check(laptop, { portalUrl: `http://${host.address}/generate_204?x` });
    expect(report.portal).toMatchObject(expected);
    expect(requests).toHaveLength(1);
    expect(requests[0]).toMatch(new RegExp(`^GET /generate_204\\?x HTTP/1.1\r\nHost: ${host.address}\r\n`));
    expect(words(report)).toContain('portal ');
    await listener.close();
    await at.close();
  });

  test.each([
    ['speaks something else', (write: (text: string) => void) => write('SSH-2.0-nothing\r\n\r\n'), /HTTP/],
    ['never ends its headers', (write: (text: string) => void) => write('x'.repeat(9_000)), /HTTP/],
    ['stays silent', () => {}, /did not answer within/],
  ])('a server that %s tells nothing', async (_what, behave, reason) => {
    const at = new World();
    const host = at.internet.host();
    const listener = await host.network.listenTcp({
      port: 80,
      onConnection: (connection) => ({ onData: () => behave((text) => void connection.write(Buffer.from(text))) }),
    });
    const laptop = at.internet.nat(natKinds.fullCone).host();
    const report = await at.check(laptop, { portalUrl: `http://${host.address}/` });
    expect(report.portal).toMatchObject({ state: 'unknown', reason: expect.stringMatching(reason) });
    await listener.close();
    await at.close();
  });

  test('says to log in only while no server is reached (D3)', async () => {
    const at = new World();
    const servers = [await at.server()];
    const host = at.internet.host();
    const listener = await host.network.listenTcp({
      port: 80,
      onConnection: (connection) => ({
        onData: () =>
          void connection.write(Buffer.from('HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\n\r\n')),
      }),
    });
    at.internet.names.set('page.example', [host.address]);
    const portalUrl = 'http://page.example/';
    const reached = await at.check(at.internet.nat(natKinds.fullCone).host(), { servers, portalUrl });
    expect(reached.portal).toMatchObject({ state: 'unknown', reason: expect.stringContaining('servers are reached') });
    expect(words(reached)).not.toContain('log in');
    const held = at.internet.nat({ ...natKinds.fullCone, allows: ({ destination }) => destination === host.address });
    const captive = await at.check(held.host(), { servers, portalUrl });
    expect(captive).toMatchObject({ transport: 'nothing', kind: 'unknown', portal: { state: 'portal' } });
    expect(captive.meaning).toContain('captive portal');
    expect(words(captive)).toContain('log in at http://login.example/');
    at.internet.names.behave('silent');
    const deaf = await at.check(at.internet.nat(natKinds.fullCone).host(), { servers, portalUrl });
    expect(deaf.portal).toMatchObject({ state: 'unknown', reason: expect.stringContaining('name server') });
    await listener.close();
    await at.close();
  });

  test('refuses an https:// page', async () => {
    const at = new World();
    const laptop = at.internet.nat(natKinds.fullCone).host();
    const code = await at.check(laptop, { portalUrl: 'https://example.org/' }).catch(errorCode);
    expect(code).toBe('bad-argument');
    await at.close();
  });
});

describe('netcheck as an operation', () => {
  test.each([0, 5, 60, 400, 900])('leaves nothing open when it is aborted after %i ms', async (afterMs) => {
    const at = new World();
    const servers = [await at.server(), { host: at.internet.host().address }];
    const nat = at.internet.nat(natKinds.portRestricted);
    await at.gateway(nat);
    const stop = new AbortController();
    const { clock, random } = at;
    const checking = netcheck(
      { network: nat.host().network, clock, random },
      { servers, gateway: nat.gateway.address, portMapping: 'map', upnp: false, signal: stop.signal },
    );
    checking.catch(() => {});
    await clock.advance(afterMs);
    stop.abort(new AbortedError('enough'));
    await expect(clock.runUntil(checking)).rejects.toThrow('enough');
    await at.close();
  });

  test('ends at its time limit when nothing answers', async () => {
    const at = new World();
    const dead = at.internet.host();
    dead.unplug();
    const report = await at.check(at.internet.nat(natKinds.fullCone).host(), {
      servers: [{ host: dead.address, tlsPort: 5349 }],
      gateway: '192.168.1.77',
      portMapping: 'map',
      portalUrl: `http://${dead.address}/`,
    });
    expect(report).toMatchObject({ transport: 'nothing', portal: { state: 'unknown' } });
    expect(report.elapsedMs).toBeLessThanOrEqual(2_400);
    await at.close();
  });
});
