import { describe, expect, test } from 'vitest';
import { formatEndpoint } from '../src/index.ts';
import { natKinds } from '../src/simulated/index.ts';
import { Simulation } from './simulation.ts';

describe('a host in a LAN', () => {
  test('hears 255.255.255.255 and the directed broadcast, also its own, but not with a bound address', async () => {
    const { clock, internet, ...simulation } = open();
    const lan = internet.lan({ subnet: '192.168.43.0/24' });
    const [one, two, three] = [lan.host(), lan.host(), lan.host()];
    const listeners = [await simulation.bind(one, { port: 32_108 }), await simulation.bind(two, { port: 32_108 })];
    const bound = await simulation.bind(three, { port: 32_108, address: three.address });
    const searcher = await simulation.bind(one, { broadcast: true });
    searcher.sendText('all', { address: '255.255.255.255', port: 32_108 });
    searcher.sendText('directed', { address: '192.168.43.255', port: 32_108 });
    await clock.advance(10);
    for (const { received } of listeners) {
      expect(received.map(({ text, from }) => [text, from.address])).toEqual([
        ['all', one.address],
        ['directed', one.address],
      ]);
    }
    expect(bound.received).toEqual([]);
  });

  test('broadcasts do not leave the LAN, nor go anywhere on the open internet', async () => {
    const { clock, internet, ...simulation } = open();
    const neighbour = await simulation.bind(internet.host(), { port: 9 });
    const inside = await simulation.bind(internet.nat().host(), { broadcast: true });
    const outside = await simulation.bind(internet.host(), { broadcast: true });
    for (const { sendText } of [inside, outside]) sendText('x', { address: '255.255.255.255', port: 9 });
    await clock.advance(100);
    expect(neighbour.received).toEqual([]);
    expect(internet.counters.inFlight).toBe(0);
  });

  test('multicasts reach those that joined the group', async () => {
    const { clock, internet, ...simulation } = open();
    const home = internet.nat();
    const group = '239.255.255.250';
    const router = await simulation.bind(home.gateway, { port: 1_900, multicastGroups: [group] });
    const other = await simulation.bind(home.host(), { port: 1_900 });
    const client = await simulation.bind(home.host());
    client.sendText('M-SEARCH', { address: group, port: 1_900 });
    await clock.advance(10);
    expect([router.texts(), other.texts()]).toEqual([['M-SEARCH'], []]);
    router.sendText('answer', router.received[0]!.from);
    await clock.advance(10);
    expect(client.received).toMatchObject([{ text: 'answer', from: { address: home.gateway.address, port: 1_900 } }]);
  });

  test('lists its addresses, and those that it has joined since', async () => {
    const { internet } = open();
    const host = internet.nat({ ipv6: '2001:db8:5::/64' }).host({ name: 'laptop' });
    const hotspot = internet.lan({ subnet: '192.168.43.0/24' });
    host.join(hotspot, { address: '192.168.43.20' });
    const shown = host.network
      .interfaces()
      .map(({ name, address, prefixLength, broadcast }) => `${name} ${address}/${prefixLength} ${broadcast ?? ''}`);
    expect(shown).toEqual([
      'lo 127.0.0.1/8 ',
      'lo ::1/128 ',
      'eth0 192.168.1.2/24 192.168.1.255',
      'eth0 2001:db8:5::1/64 ',
      'eth1 192.168.43.20/24 192.168.43.255',
    ]);
  });

  test('leaves by the interface whose network the destination is in, else by the first', async () => {
    const { clock, internet, ...simulation } = open();
    const host = internet.host();
    const hotspot = internet.lan({ subnet: '192.168.43.0/24' });
    host.join(hotspot, { address: '192.168.43.20' });
    const camera = await simulation.bind(hotspot.host({ address: '192.168.43.1' }), { port: 1 });
    const server = await simulation.bind(internet.host({ address: '192.0.2.1' }), { port: 1 });
    const { sendText } = await simulation.bind(host);
    sendText('x', { address: '192.168.43.1', port: 1 });
    sendText('x', { address: '192.0.2.1', port: 1 });
    await clock.advance(100);
    expect(camera.received[0]!.from.address).toBe('192.168.43.20');
    expect(server.received[0]!.from.address).toBe(host.address);
  });

  test('keeps its sockets when it roams: wildcard ones go on from the new address, bound ones report it (C11)', async () => {
    const { clock, internet, ...simulation } = open();
    const home = internet.nat();
    const host = home.host();
    const server = await simulation.echo(internet.host());
    const wildcard = await simulation.bind(host);
    const bound = await simulation.bind(host, { address: host.address });
    const wlan = internet.nat({ subnet: '10.20.0.0/16' });
    host.roam(wlan.lan);
    wildcard.sendText('still here', server);
    bound.sendText('lost', server);
    await clock.advance(100);
    expect(host.address).toBe('10.20.0.2');
    expect(wildcard.texts()).toEqual(['still here']);
    expect([bound.texts(), bound.errors]).toEqual([[], ['address-not-available']]);
  });

  test('gets another address when it joins the same network again', async () => {
    const { clock, internet, ...simulation } = open();
    const host = internet.host();
    const before = host.address;
    const client = await simulation.bind(host, { port: 5_000 });
    const late = await simulation.bind(internet.host());
    late.sendText('to the old address', { address: before, port: 5_000 });
    host.roam(internet.network);
    late.sendText('gone', { address: before, port: 5_000 });
    late.sendText('to the new address', { address: host.address, port: 5_000 });
    await clock.advance(100);
    expect(host.address).not.toBe(before);
    expect(client.texts()).toEqual(['to the new address']);
  });
});

test('a network gives addresses again that were given back, and none when it is full', () => {
  const { internet } = open();
  const lan = internet.lan({ subnet: '192.168.9.0/30' });
  const host = lan.host();
  const addresses = [host.address];
  for (let round = 0; round < 4; round++) {
    host.roam(lan);
    addresses.push(host.address);
  }
  expect(addresses.map((address) => address.at(-1))).toEqual(['1', '2', '1', '2', '1']);
  lan.host();
  expect(() => lan.host().address).toThrow('has no IPv4 address');
});

describe("a host's firewall", () => {
  const cameraWith = async (policy: 'contacted' | 'first-seen' | 'closed', holdMs?: number) => {
    const simulation = open();
    const lan = simulation.internet.lan();
    const camera = lan.host({ firewall: { policy, ports: [40_611], holdMs } });
    const service = await simulation.bind(camera, { port: 40_611 });
    const search = await simulation.bind(camera, { port: 32_108 });
    const phone = lan.host();
    const [first, second] = [await simulation.bind(phone), await simulation.bind(phone)];
    return {
      ...simulation,
      camera,
      service,
      search,
      phone,
      first,
      second,
      to: { address: camera.address, port: 40_611 },
    };
  };

  test('first-seen: serves the first (address, port) and nobody else until reset (B6)', async () => {
    const { clock, camera, service, search, first, second, to } = await cameraWith('first-seen');
    first.sendText('first', to);
    await clock.advance(1);
    second.sendText('second', to);
    first.sendText('first again', to);
    second.sendText('unguarded', { ...to, port: search.socket.local.port });
    await clock.advance(1);
    expect([service.texts(), search.texts()]).toEqual([['first', 'first again'], ['unguarded']]);
    camera.firewall.reset();
    second.sendText('second at last', to);
    await clock.advance(1);
    expect(service.texts().at(-1)).toBe('second at last');
  });

  test('first-seen: forgets a silent endpoint after its time (B6)', async () => {
    const { clock, service, first, second, to } = await cameraWith('first-seen', 30_000);
    first.sendText('first', to);
    await clock.advance(29_000);
    first.sendText('refreshed', to);
    await clock.advance(29_000);
    second.sendText('too early', to);
    await clock.advance(2_000);
    second.sendText('free', to);
    await clock.advance(1);
    expect(service.texts()).toEqual(['first', 'refreshed', 'free']);
  });

  test('contacted: lets in only the endpoints that were sent to', async () => {
    const { clock, internet, service, phone, first, second, to } = await cameraWith('contacted');
    second.sendText('too early', to);
    await clock.advance(1);
    service.sendText('hello', { address: phone.address, port: first.socket.local.port });
    await clock.advance(1);
    first.sendText('answer', to);
    second.sendText('stranger', to);
    await clock.advance(1);
    expect(service.texts()).toEqual(['answer']);
    expect(internet.counters.dropped).toEqual({ firewalled: 2 });
  });

  test('closed: lets nothing in, and can be opened while it runs', async () => {
    const { clock, camera, service, first, to } = await cameraWith('closed');
    first.sendText('no', to);
    await clock.advance(1);
    camera.firewall.options = { policy: 'open' };
    first.sendText('yes', to);
    await clock.advance(1);
    expect(service.texts()).toEqual(['yes']);
  });
});

describe('errors and accounts', () => {
  test('UDP hears of closed ports and missing routes only when the internet says so', async () => {
    for (const icmpErrors of [false, true]) {
      const { clock, internet, ...simulation } = open({ icmpErrors });
      const client = await simulation.bind(internet.nat().host());
      client.sendText('x', { address: internet.host().address, port: 9 });
      client.sendText('x', { address: '198.51.100.9', port: 9 });
      await clock.advance(1_000);
      expect(client.errors.sort()).toEqual(icmpErrors ? ['connection-refused', 'unreachable'] : []);
      expect(internet.counters.dropped).toEqual({ 'no-listener': 1, 'no-route': 1 });
    }
  });

  test('nothing is left after close: no socket and no timer (A6)', async () => {
    const { clock, internet, ...simulation } = open();
    const [host, other] = [internet.nat(natKinds.portRestricted).host(), internet.host()];
    const server = await simulation.bind(other, { port: 1 });
    const client = await simulation.bind(host);
    const listener = await other.network.listenTcp({ port: 2, onConnection: () => ({ onData: () => {} }) });
    const to = { address: other.address, port: 2 };
    const connection = await clock.runUntil(host.network.connectTcp(to, { onData: () => {} }));
    connection.write(new Uint8Array(100_000));
    client.sendText('x', { address: other.address, port: 1 });
    expect(internet.openSockets).toBe(5);
    await clock.runUntil(connection.close());
    await Promise.all([server.socket.close(), client.socket.close(), listener.close()]);
    await clock.advance(1_000);
    expect([internet.openSockets, clock.pendingTimers, internet.counters.inFlight]).toEqual([0, 0, 0]);
  });

  test('a hook can drop, change, copy and delay packets', async () => {
    const { clock, internet, ...simulation } = open();
    const client = await simulation.bind(internet.nat().host());
    const host = internet.host();
    const server = await simulation.bind(host, { port: 1 });
    const stop = internet.intercept((packet, next) => {
      const text = new TextDecoder().decode(packet.payload);
      if (text === 'drop') return;
      if (text === 'change') packet.payload = new TextEncoder().encode('changed');
      if (text === 'delay') clock.timer(1_000, next);
      else next();
      if (text === 'copy') next();
    });
    for (const text of ['drop', 'change', 'copy', 'delay', 'pass'])
      client.sendText(text, { address: host.address, port: 1 });
    await clock.advance(100);
    expect(server.texts()).toEqual(['changed', 'copy', 'copy', 'pass']);
    await clock.advance(1_000);
    expect(server.texts().at(-1)).toBe('delay');
    expect(new Set(server.received.map(({ from }) => formatEndpoint(from))).size).toBe(1);
    stop();
    client.sendText('drop', { address: host.address, port: 1 });
    await clock.advance(100);
    expect(server.texts().at(-1)).toBe('drop');
    const { sent, copies, delivered, dropped, inFlight } = internet.counters;
    expect({ sent, copies, delivered, dropped, inFlight }).toEqual({
      sent: 6,
      copies: 2,
      delivered: 6,
      dropped: { intercepted: 2 },
      inFlight: 0,
    });
  });

  test('mistakes in a topology are named at once', () => {
    const { internet } = open();
    internet.host({ address: '192.0.2.1' });
    expect(() => internet.host({ address: '192.0.2.1' })).toThrow('taken');
    expect(() => internet.host({ address: 'example.org' })).toThrow('no IPv4 address');
    expect(() => internet.lan({ subnet: '192.168.1.0' })).toThrow('no network prefix');
    expect(() => internet.nat({ externalAddress: '192.0.2.1' })).toThrow('taken');
    expect(() => internet.nat(natKinds.open).externalAddress).toThrow('no external address');
    expect(() => internet.host().address6).toThrow('no IPv6');
  });
});

function open(options: ConstructorParameters<typeof Simulation>[1] = {}) {
  const simulation = new Simulation(1, options);
  return {
    clock: simulation.clock,
    internet: simulation.internet,
    bind: simulation.bind.bind(simulation),
    echo: simulation.echo.bind(simulation),
  };
}
