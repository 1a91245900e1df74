import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { natKinds, SimulatedInternet } from '@towpath/net/simulated';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { probeGateway } from '../src/index.ts';
import { decodePcpAnnounce } from '../src/pcp.ts';
import { encodeGatewaySearch, readGatewayAnswer } from '../src/ssdp.ts';
import { GatewayResponder, type Habit } from './gateway-responder.ts';

function home() {
  const clock = new VirtualClock();
  const internet = new SimulatedInternet({ clock, random: new SeededRandom(1) });
  const nat = internet.nat(natKinds.portRestricted);
  return { clock, internet, nat, gateway: nat.gateway.address, laptop: nat.host() };
}

const LOCATION = 'http://192.168.1.1:5000/rootDesc.xml';
const ANSWER = [
  'HTTP/1.1 200 OK',
  'CACHE-CONTROL: max-age=120',
  'ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1',
  `LOCATION: ${LOCATION}`,
  '',
  '',
].join('\r\n');

describe('what a gateway offers', () => {
  test.each<[Habit, object]>([
    ['pcp', { pcp: { state: 'answers' }, natPmp: { state: 'answers', externalAddress: expect.any(String) } }],
    ['nat-pmp', { pcp: { state: 'silent' }, natPmp: { state: 'answers' } }],
    ['refuse', { pcp: { state: 'refuses', reason: expect.stringContaining('switched off') } }],
    ['silent', { pcp: { state: 'silent' }, natPmp: { state: 'silent' } }],
  ])('is found out without mapping anything, when its habit is "%s" (C3)', async (habit, expected) => {
    const { clock, internet, nat, gateway, laptop } = home();
    const responder = new GatewayResponder(nat, habit);
    await responder.start();
    const found = await clock.runUntil(
      probeGateway({ network: laptop.network, clock }, { gateway, upnp: false, timeoutMs: 800 }),
    );
    expect(found).toMatchObject({ ...expected, upnp: { state: 'not-asked' } });
    expect(clock.now()).toBeLessThanOrEqual(800);
    expect(responder.leases.size).toBe(0);
    await responder.close();
    expect([internet.openSockets, clock.pendingTimers]).toEqual([0, 0]);
  });

  test('takes a round trip when everything answers', async () => {
    const { clock, nat, gateway, laptop } = home();
    const responder = new GatewayResponder(nat, 'pcp');
    await responder.start();
    await clock.runUntil(probeGateway({ network: laptop.network, clock }, { gateway, upnp: false }));
    expect(clock.now()).toBeLessThan(10);
    await responder.close();
  });

  test('a UPnP gateway is found by multicast, and where its description is', async () => {
    const { clock, nat, laptop } = home();
    const router = nat.host();
    const socket = await router.network.bindUdp({
      port: 1900,
      multicastGroups: ['239.255.255.250'],
      onMessage: (data, from) => {
        if (Buffer.from(data).includes('InternetGatewayDevice')) socket.send(Buffer.from(ANSWER), from);
      },
    });
    const found = await clock.runUntil(probeGateway({ network: laptop.network, clock }, { timeoutMs: 800 }));
    expect(found).toEqual({
      pcp: { state: 'not-asked' },
      natPmp: { state: 'not-asked' },
      upnp: { state: 'answers', location: LOCATION },
    });
    await socket.close();
  });

  test('an answer that leads elsewhere, and an address of nobody, are not called "answers" (D3)', async () => {
    const { clock, nat, gateway, laptop } = home();
    const responder = new GatewayResponder(nat, 'nat-pmp');
    responder.externalAddress = '0.0.0.0';
    await responder.start();
    const other = await nat.host().network.bindUdp({
      port: 1900,
      multicastGroups: ['239.255.255.250'],
      onMessage: (_data, from) => other.send(Buffer.from(ANSWER.replace('192.168.1.1', '192.168.1.77')), from),
    });
    const found = await clock.runUntil(
      probeGateway({ network: laptop.network, clock }, { gateway, localAddress: laptop.address, timeoutMs: 800 }),
    );
    expect(found).toEqual({
      pcp: { state: 'silent' },
      natPmp: { state: 'refuses', reason: 'it has no external address' },
      upnp: { state: 'silent', reason: 'an answer names 192.168.1.77, which is not the router on the path' },
    });
    await Promise.all([responder.close(), other.close()]);
  });

  test('leaves nothing open when it is aborted', async () => {
    const { clock, internet, gateway, laptop } = home();
    const stop = new AbortController();
    const probing = probeGateway({ network: laptop.network, clock }, { gateway, signal: stop.signal });
    probing.catch(() => {});
    await clock.advance(300);
    stop.abort(new Error('enough'));
    await expect(probing).rejects.toThrow('enough');
    expect([internet.openSockets, clock.pendingTimers]).toEqual([0, 0]);
  });
});

describe('the formats of probing', () => {
  test('a search has the lines of UPnP Device Architecture 1.1 §1.3.2', () => {
    expect(Buffer.from(encodeGatewaySearch('239.255.255.250')).toString()).toBe(
      'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n' +
        'MAN: "ssdp:discover"\r\nMX: 1\r\n\r\n',
    );
  });

  test.each([
    ['an answer', ANSWER, LOCATION],
    ['another device', ANSWER.replace('InternetGatewayDevice', 'MediaServer'), undefined],
    ['an answer without a place', ANSWER.replace('LOCATION', 'X-LOCATION'), undefined],
    ['a place that is no web address', ANSWER.replace('http:', 'file:'), undefined],
    ['a notification', ANSWER.replace('HTTP/1.1 200 OK', 'NOTIFY * HTTP/1.1'), undefined],
  ])('reads %s', (_what, text, expected) => {
    expect(readGatewayAnswer(Buffer.from(text))).toBe(expected);
  });

  test('hostile bytes are no answers and throw nothing', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        expect(readGatewayAnswer(bytes)).toBeUndefined();
        const code = decodePcpAnnounce(bytes);
        expect(code === undefined || (bytes.length >= 24 && bytes[0] === 2)).toBe(true);
      }),
    );
  });
});
