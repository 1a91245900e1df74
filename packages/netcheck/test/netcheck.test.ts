import { AbortedError, errorCode, SeededRandom, VirtualClock } from '@towpath/core';
import { type NatOptions, natKinds, type SimulatedHost, SimulatedInternet, type SimulatedNat } from '@towpath/net';
import { StunServer, TurnServer } from '@towpath/stun';
import { describe, expect, test } from 'vitest';
import { GatewayResponder } from '../../portmap/test/gateway-responder.ts';
import { describeNetcheck, type NetcheckOptions, type NetcheckReport, netcheck } from '../src/index.ts';

const DEPENDENCES = ['endpoint-independent', 'address-dependent', 'address-and-port-dependent'] as const;
const NAMES = [
  'full cone',
  'address-restricted cone',
  'port-restricted cone',
  'address-symmetric, unfiltered',
  'address-symmetric, address-restricted',
  'address-symmetric, port-restricted',
  'symmetric, unfiltered',
  'symmetric, address-restricted',
  'symmetric',
];
const NINE = DEPENDENCES.flatMap((mapping, row) =>
  DEPENDENCES.map((filtering, column) => ({ mapping, filtering, name: NAMES[3 * row + column]! })),
);

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
    this.#open.push(await StunServer.listen({ network }, init));
    await this.#tcp(host, host.address, 'tcp');
    return { host: host.address, port: 3478 };
  }

  /** A server of IPv6 alone. */
  async server6(): Promise<{ host: string }> {
    const host = this.internet.host();
    this.#open.push(await StunServer.listen({ network: host.network }, { address: host.address6 }));
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

  check(host: SimulatedHost, options: NetcheckOptions, resolve?: () => Promise<string[]>): Promise<NetcheckReport> {
    const { clock, random } = this;
    const components = { network: host.network, clock, random, resolve };
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
  test.each(NINE)('names $name and says what it means, in under 3 s (C3)', async ({ mapping, filtering, name }) => {
    const at = new World();
    const servers = [await at.server()];
    const host = at.internet.nat({ mapping, filtering, ports: 'random' }).host();
    const report = await at.check(host, { servers });
    expect(report).toMatchObject({ kind: name, transport: 'udp', ipv4: { reachable: true } });
    expect(report.ipv4.nat).toMatchObject({ mapping, filtering });
    expect(report.elapsedMs).toBeLessThan(3_000);
    expect(report.prospects).toHaveLength(7);
    expect(words(report)).toContain(name);
    await at.close();
  });

  test('says "TCP only" where UDP is blocked', async () => {
    const at = new World();
    const servers = [await at.server()];
    const report = await at.check(at.internet.nat(natKinds.udpBlocked).host(), { servers });
    expect(report).toMatchObject({ transport: 'tcp-only', kind: 'UDP blocked', ipv4: { reachable: true } });
    expect(report.ipv4.external?.address).toMatch(/^11\./);
    expect(new Set(report.prospects.map(({ way }) => way))).toEqual(new Set(['relay']));
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
      const ways = report.servers[index]?.ways ?? [];
      expect(ways.map(({ transport }) => transport)).toEqual(['udp', 'tcp', 'tls']);
      // The laptop's LAN and its provider's link add 10.25 ms each way.
      for (const { rttMs } of ways) expect(rttMs).toBeCloseTo(2 * (delayMs + 10.25), 0);
    }
    await at.close();
  });

  test('a lost packet does not make a round trip longer', async () => {
    const at = new World();
    const relays = [await at.relay()];
    const nat = at.internet.nat({ ...natKinds.fullCone, link: { delayMs: 10, lossRatio: 0.2 } });
    const report = await at.check(nat.host(), { relays });
    expect(report.servers[0]?.ways[0]?.rttMs).toBeCloseTo(2 * 20.25, 0);
    await at.close();
  });

  test('says what two plain servers cannot tell', async () => {
    const at = new World();
    const relays = [await at.relay(), await at.relay()];
    const report = await at.check(at.internet.nat(natKinds.symmetricRandom).host(), { relays });
    expect(report).toMatchObject({ kind: 'symmetric', ipv4: { nat: { filtering: 'unknown' } } });
    expect(words(report)).toContain('the servers cannot answer from a second address');
    await at.close();
  });

  test('goes on without a server that is down, and names it', async () => {
    const at = new World();
    const dead = { host: at.internet.host().address, tlsPort: 5349 };
    const servers = [dead, await at.server()];
    const report = await at.check(at.internet.nat(natKinds.restrictedCone).host(), { servers });
    expect(report.kind).toBe('address-restricted cone');
    expect(report.servers[0]?.best).toBeUndefined();
    expect(report.servers[0]?.ways.map(({ error }) => error?.code)).toEqual([
      'timed-out',
      'connection-refused',
      'connection-refused',
    ]);
    expect(words(report)).toMatch(/does not answer/);
    expect(report.elapsedMs).toBeLessThan(3_000);
    await at.close();
  });

  test('tells a network that is down from one that blocks', async () => {
    const at = new World();
    const servers = [await at.server()];
    const host = at.internet.nat(natKinds.fullCone).host();
    host.unplug();
    const unplugged = await at.check(host, { servers });
    expect(unplugged).toMatchObject({ transport: 'nothing', addresses: [], ipv4: { reachable: false } });
    expect(unplugged.ipv4.why).toBe('This machine has no IPv4 address.');
    const other = at.internet.nat({ allows: () => false }).host();
    const blocked = await at.check(other, { servers });
    expect(blocked).toMatchObject({ transport: 'nothing', prospects: [] });
    expect(blocked.ipv4.why).toMatch(/leads nowhere/);
    expect(blocked.meaning).toMatch(/^Nothing can be reached/);
    expect(blocked.elapsedMs).toBeLessThan(3_000);
    await at.close();
  });

  test('says what is missing when no server is named', async () => {
    const at = new World();
    const report = await at.check(at.internet.nat(natKinds.fullCone).host(), {});
    expect(report).toMatchObject({ transport: 'unknown', kind: 'unknown', ipv4: { reachable: undefined } });
    expect(words(report)).toContain('--server HOST:PORT');
    await at.close();
  });
});

describe('netcheck over IPv6', () => {
  test('tells addresses that work from those that do not', async () => {
    const at = new World({ ipv6: true });
    const servers = [await at.server(), await at.server6()];
    const home = at.internet.nat({ ...natKinds.symmetricRandom, ipv6: true }).host();
    const works = await at.check(home, { servers });
    expect(works).toMatchObject({ kind: 'symmetric', ipv6: { reachable: true, nat: { mapping: 'none' } } });
    expect(works.ipv6.external?.address).toBe(home.address6);
    expect(words(works)).toContain('Peers that have IPv6 too');
    const old = at.internet.nat(natKinds.symmetricRandom).host();
    const lacks = await at.check(old, { servers });
    expect(lacks.ipv6).toMatchObject({ reachable: false, why: 'This machine has no IPv6 address.' });
    expect(words(lacks)).toContain('this machine has no address of its family');
    await at.close();
  });
});

describe('netcheck and names', () => {
  test('looks names up, and says when there is no such name or no answer', async () => {
    const at = new World();
    const { host } = await at.server();
    const laptop = at.internet.nat(natKinds.fullCone).host();
    const servers = [{ host: 'stun.example.org' }];
    const found = await at.check(laptop, { servers }, async () => [host]);
    expect(found).toMatchObject({ kind: 'full cone', servers: [{ host: 'stun.example.org' }] });
    for (const [resolve, code] of [
      [undefined, 'name-unresolved'],
      [async () => [], 'name-unresolved'],
      [() => new Promise<string[]>(() => {}), 'timed-out'],
    ] as const) {
      const report = await at.check(laptop, { servers }, resolve);
      expect(report).toMatchObject({ transport: 'nothing', servers: [{ error: { code } }] });
      expect(words(report)).toContain('stun.example.org');
    }
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

  test('asks what it offers and maps nothing', async () => {
    const { at, servers, nat, responder, laptop, gateway } = await withGateway(natKinds.portRestricted);
    const report = await at.check(laptop, { servers, gateway });
    expect(report).toMatchObject({
      gateway,
      carrierNat: false,
      portMapping: {
        services: { pcp: { state: 'answers' }, natPmp: { state: 'answers', externalAddress: nat.externalAddress } },
      },
    });
    expect(responder.requests).toEqual([]);
    await at.close();
  });

  test('maps a port when asked to, and removes the mapping (C3)', async () => {
    const { at, servers, nat, responder, laptop, gateway } = await withGateway(natKinds.portRestricted);
    const report = await at.check(laptop, { servers, gateway, portMapping: 'map' });
    expect(report.portMapping?.mapped).toMatchObject({ via: 'pcp', external: { address: nat.externalAddress } });
    expect(responder.requests.length).toBeGreaterThan(1);
    expect(responder.leases.size).toBe(0);
    expect(words(report)).toMatch(/mapped by pcp to .*, and removed again/);
    await at.close();
  });

  test('says why nothing could be mapped', async () => {
    const { at, servers, responder, laptop, gateway } = await withGateway(natKinds.portRestricted);
    responder.habit = 'refuse';
    const report = await at.check(laptop, { servers, gateway, portMapping: 'map' });
    expect(report.portMapping?.error).toMatchObject({ code: 'no-mapping' });
    expect(words(report)).toContain('switched off at the gateway');
    await at.close();
  });

  test('sees the provider’s NAT behind one’s own', async () => {
    const { at, servers, laptop, gateway } = await withGateway(natKinds.cgnat);
    const report = await at.check(laptop, { servers, gateway });
    expect(report).toMatchObject({ carrierNat: true, kind: 'port-restricted cone' });
    expect(words(report)).toContain('another NAT behind your router');
    await at.close();
  });
});

describe('netcheck and captive portals', () => {
  test.each([
    ['204 No Content', '', { state: 'open', status: 204 }],
    ['302 Found', 'Location: http://login.example/\r\n', { state: 'portal', location: 'http://login.example/' }],
    ['200 OK', 'Content-Type: text/html\r\n', { state: 'portal', status: 200 }],
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

  test('a page over HTTPS cannot be asked for', async () => {
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

  test('is over in time when nothing at all answers', async () => {
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
