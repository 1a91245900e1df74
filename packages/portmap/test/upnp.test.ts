import { errorCode, SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import type { Endpoint } from '@towpath/net';
import { natKinds, SimulatedInternet } from '@towpath/net/simulated';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readHttp } from '../src/http-exchange.ts';
import { PortMapper } from '../src/index.ts';
import { encodeAction, readArgument, readDescription, readFault } from '../src/upnp.ts';
import { type UpnpHabits, UpnpResponder } from './upnp-responder.ts';
import { reach } from './reach.ts';

const PORT = 41_000;

async function home(habits: Partial<UpnpHabits> = {}) {
  const clock = new VirtualClock();
  const random = new SeededRandom(1);
  const internet = new SimulatedInternet({ clock, random });
  const nat = internet.nat(natKinds.portRestricted);
  const laptop = nat.host();
  const stranger = internet.host();
  const responder = new UpnpResponder(nat);
  Object.assign(responder.habits, habits);
  await responder.start();
  // Nothing listens for PCP there, so that UPnP is what is left.
  const mapper = new PortMapper({ network: laptop.network, clock, random }, { gateway: nat.gateway.address });
  const map = (lifetimeMs?: number) =>
    clock.runUntil(mapper.map({ protocol: 'udp', internalPort: PORT, ...(lifetimeMs && { lifetimeMs }) }));
  const hosts = { inside: laptop.network, outside: stranger.network };
  const reached = (external: Endpoint) => reach(clock, hosts, { internalPort: PORT, external });
  return { clock, internet, nat, responder, map, reach: reached };
}

describe('UPnP', () => {
  test.each<[string, Partial<UpnpHabits>]>([
    ['version 1', {}],
    ['version 2', { service: 'urn:schemas-upnp-org:service:WANIPConnection:2' }],
    ['over PPP', { service: 'urn:schemas-upnp-org:service:WANPPPConnection:1' }],
    ['that answers in chunks', { chunked: true }],
  ])('maps a port at a gateway %s, so that a stranger gets in, and removes it on close (C3)', async (_what, habits) => {
    const { clock, internet, nat, responder, map, reach } = await home(habits);
    const mapping = await map();
    expect(mapping.current).toEqual({
      via: 'upnp',
      external: { address: nat.externalAddress, port: PORT },
      lifetimeMs: 7_200_000,
    });
    expect(responder.leases.get(PORT)?.leaseS).toBe(7_200);
    expect(await reach(mapping.current.external)).toEqual(['hello']);
    await clock.runUntil(mapping.close());
    expect(responder.leases.size).toBe(0);
    expect(await reach(mapping.current.external)).toEqual([]);
    await responder.close();
    await clock.advance(60_000);
    expect([internet.openSockets, clock.pendingTimers]).toEqual([0, 0]);
  });

  test('renews at half the time, without looking for the gateway again', async () => {
    const { clock, responder, map } = await home();
    const mapping = await map(600_000);
    await clock.advance(3_000_100);
    expect(responder.actions.filter((action) => action === 'AddPortMapping').length).toBeGreaterThanOrEqual(1 + 9);
    expect(mapping.current.external.port).toBe(PORT);
    await clock.runUntil(mapping.close());
  });

  test('takes another port when somebody has the wanted one', async () => {
    const { clock, responder, map, reach } = await home({ taken: new Set([PORT]) });
    const mapping = await map();
    expect(mapping.current.external.port).not.toBe(PORT);
    expect(await reach(mapping.current.external)).toEqual(['hello']);
    await clock.runUntil(mapping.close());
    expect(responder.leases.size).toBe(0);
  });

  test.each<[string, Partial<UpnpHabits>]>([
    ['refuses it', { deletionRefusal: 606 }],
    ['does not answer', { silent: true }],
    ['closes the connection', { garbage: '' }],
    ['answers something else than HTTP', { garbage: 'deleted\r\n\r\n' }],
  ])('a deletion is not confirmed by a gateway that %s', async (_what, habits) => {
    const { clock, internet, responder, map } = await home();
    const mapping = await map();
    Object.assign(responder.habits, habits);
    expect(await clock.runUntil(mapping.close())).toBe(false);
    expect([...responder.leases.keys()]).toEqual([PORT]);
    await responder.close();
    await clock.advance(60_000);
    expect([internet.openSockets, clock.pendingTimers]).toEqual([0, 0]);
  });

  test('takes a lease without end where there is no other, and ends it itself', async () => {
    const { clock, responder, map } = await home({ permanentOnly: true });
    const mapping = await map();
    expect(responder.leases.get(PORT)?.leaseS).toBe(0);
    await clock.runUntil(mapping.close());
    expect(responder.leases.size).toBe(0);
  });

  test('keeps one rule where the renewal of its own is called a conflict, and removes it', async () => {
    const { clock, responder, map, reach } = await home({ conflictOnRenewal: true });
    const mapping = await map(600_000);
    const before = responder.actions.length;
    await clock.advance(3_000_000);
    expect(responder.actions.length).toBeGreaterThan(before);
    expect([...responder.leases.keys()]).toEqual([PORT]);
    expect(await reach(mapping.current.external)).toEqual(['hello']);
    expect(await clock.runUntil(mapping.close())).toBe(true);
    expect(responder.leases.size).toBe(0);
  });

  test.each([402, 501, 725])('takes a refusal of the lease with code %i for what it is', async (leaseRefusal) => {
    const { clock, responder, map } = await home({ leaseRefusal });
    const mapping = await map(600_000);
    expect(responder.leases.get(PORT)?.leaseS).toBe(0);
    await clock.advance(400_000);
    // The next renewal does not ask for a lease again.
    expect(responder.actions.filter((action) => action === 'AddPortMapping')).toHaveLength(3);
    await clock.runUntil(mapping.close());
  });

  test.each<[string, Partial<UpnpHabits>]>([
    ['two WAN connections, the first one down', { deadServices: 1 }],
    ['an empty URLBase', { urlBase: '<URLBase></URLBase>' }],
    ['a URLBase without a path', { urlBase: '<URLBase>http://192.168.1.1:5000</URLBase>' }],
    ['elements with prefixes', { prefix: 'd' }],
    ['ports that must be the same on both sides', { samePort: true }],
    ['an interim response before each answer', { interim: 'HTTP/1.1 100 Continue\r\n\r\n' }],
  ])('maps at a router with %s', async (_what, habits) => {
    const { clock, responder, map } = await home(habits);
    const mapping = await map();
    expect([...responder.leases.keys()]).toEqual([PORT]);
    await clock.runUntil(mapping.close());
    expect(responder.leases.size).toBe(0);
  });

  test.each<[string, Partial<UpnpHabits>]>([
    ['that another mechanism of the router uses', { usedElsewhere: new Set([PORT]) }],
    ['whose refusal comes with status 200', { taken: new Set([PORT]), refusesWith200: true }],
    ['of another host', { owners: new Map([[PORT, '192.168.1.77']]) }],
  ])('takes another port than one %s', async (_what, habits) => {
    const { clock, responder, map, reach } = await home(habits);
    const mapping = await map();
    expect(mapping.current.external.port).not.toBe(PORT);
    expect(await reach(mapping.current.external)).toEqual(['hello']);
    expect(responder.actions).not.toContain('DeletePortMapping');
    await clock.runUntil(mapping.close());
  });

  test('leaves the rule alone that another host has made on its port meanwhile', async () => {
    const { clock, responder, map } = await home();
    const mapping = await map(600_000);
    responder.habits.owners.set(PORT, '192.168.1.77');
    await clock.advance(400_000);
    expect(mapping.current.external.port).not.toBe(PORT);
    expect(responder.actions).not.toContain('DeletePortMapping');
    await clock.runUntil(mapping.close());
  });

  test('asks for a lease again of a router that refused everything while it started', async () => {
    const { clock, responder, map } = await home();
    const mapping = await map(600_000);
    responder.habits.startsFor = 4;
    await clock.advance(400_000);
    expect(responder.leases.get(PORT)?.leaseS).toBe(600);
    await clock.runUntil(mapping.close());
  });

  test('has the mapping back when the router says that it started anew', async () => {
    const { clock, responder, map } = await home();
    const mapping = await map();
    responder.alive(7);
    await clock.advance(20_000);
    const before = responder.actions.length;
    responder.alive(7);
    await clock.advance(20_000);
    expect(responder.actions.length).toBe(before);
    responder.restart(8);
    await clock.advance(1_000);
    expect([...responder.leases.keys()]).toEqual([PORT]);
    await clock.runUntil(mapping.close());
  });

  test('has the mapping back after ssdp:alive of a router without a boot number', async () => {
    const { clock, responder, map } = await home();
    const mapping = await map();
    await clock.advance(20_000);
    responder.restart();
    for (let repeat = 0; repeat < 5; repeat++) responder.alive();
    await clock.advance(1_000);
    expect([...responder.leases.keys()]).toEqual([PORT]);
    expect(responder.actions.filter((action) => action === 'AddPortMapping')).toHaveLength(2);
    await clock.runUntil(mapping.close());
  });

  test.each<[string, Partial<UpnpHabits>, RegExp]>([
    [
      'a description elsewhere',
      { location: 'http://11.0.0.99:80/rootDesc.xml' },
      /UPnP answers came from 11.0.0.99, but not from the router on the path/,
    ],
    ['a control URL elsewhere', { controlUrl: 'http://11.0.0.99/ctl' }, /no port mapping service/],
    ['another service', { service: 'urn:schemas-upnp-org:service:Printing:1' }, /no port mapping service/],
    ['no address outside', { externalAddress: '0.0.0.0' }, /no external address/],
    ['something that is no HTTP', { garbage: 'SSH-2.0\r\n\r\n' }, /did not answer with HTTP/],
    ['half an answer', { garbage: 'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf' }, /did not answer with HTTP/],
    [
      'a description without end',
      { garbage: `HTTP/1.1 200 OK\r\n\r\n${'<device>'.repeat(40_000)}` },
      /answered with more than 262144 bytes on port/,
    ],
  ])('says so when the gateway has %s', async (_what, habits, message) => {
    const { clock, internet, responder, map } = await home(habits);
    const failed = await map().catch((error: unknown) => error);
    expect(errorCode(failed)).toBe('no-mapping');
    expect(String(failed)).toMatch(message);
    await responder.close();
    await clock.advance(10_000);
    expect([internet.openSockets, clock.pendingTimers]).toEqual([0, 0]);
  });
});

describe('the formats of UPnP', () => {
  test('an action is SOAP 1.1 with its arguments in order', () => {
    const { headers, body } = encodeAction('urn:x:1', 'Do', { A: '<&>', B: 7 });
    expect(headers.SOAPAction).toBe('"urn:x:1#Do"');
    expect(body).toContain('<u:Do xmlns:u="urn:x:1"><A>&lt;&amp;&gt;</A><B>7</B></u:Do>');
  });

  test('elements are read whatever their prefix and attributes', () => {
    expect(readArgument('<a:Name x="1"> b &amp; c </a:Name>', 'Name')).toBe('b & c');
    expect(readArgument('<NameX>1</NameX>', 'Name')).toBeUndefined();
    expect(readArgument('<a><![CDATA[<Name>no</Name>]]></a><Name><![CDATA[1 < 2]]></Name>', 'Name')).toBe('1 < 2');
    expect(readFault('<errorCode>718</errorCode>')).toEqual({ code: 718, description: 'no description' });
    expect(readFault('<errorCode>x</errorCode>')).toBeUndefined();
  });

  test('hostile bytes end as "more" or "bad" or an answer, and throw nothing', () => {
    const head = fc.constantFrom(
      '',
      'HTTP/1.1 200 OK\r\n\r\n',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
    );
    fc.assert(
      fc.property(head, fc.uint8Array({ maxLength: 60 }), fc.boolean(), (start, bytes, ended) => {
        const result = readHttp(Buffer.concat([Buffer.from(start), bytes]), ended);
        if (ended) expect(result).not.toBe('more');
      }),
    );
    fc.assert(
      fc.property(fc.string(), fc.string(), (xml, location) => {
        expect(readDescription(`<service>${xml}</service>`, location)).toEqual([]);
      }),
    );
  });

  test('an answer is read alike from one piece and byte by byte', () => {
    const whole = Buffer.from(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\n ok\r\n0\r\n\r\n',
    );
    const results = Array.from(whole, (_byte, at) => readHttp(whole.subarray(0, at + 1), false));
    const complete = results.findIndex((result) => result !== 'more');
    expect(results[complete]).toEqual({ status: 200, body: 'hello ok' });
    expect(complete).toBeGreaterThan(whole.length - 8);
  });
});
