import { AbortedError } from '@towpath/core';
import { describe, expect, test } from 'vitest';
import { type FoundDevice, type SearchLanOptions, StreamCipher, searchLan } from '../src/index.ts';
import { encodeMessage } from '../src/codec/index.ts';
import { type Hotspot, hotspot, LISTEN_PORT, startDevice, UID } from './device-lan.ts';

async function find({ clock, phone }: Hotspot, options: Partial<SearchLanOptions> = {}): Promise<FoundDevice[]> {
  const found: FoundDevice[] = [];
  const search = (async () => {
    for await (const device of searchLan({ network: phone.network, clock, ...options })) found.push(device);
  })();
  await clock.runUntil(search);
  return found;
}

describe('LAN search (B1)', () => {
  test('finds every device once, with the address of its listen port, and opens no session', async () => {
    const spot = hotspot({ duplicateRatio: 0.5 });
    const { clock, internet, lan } = spot;
    const first = await startDevice(spot);
    const second = await startDevice(
      { ...spot, camera: lan.host({ name: 'second', address: '192.168.43.9' }) },
      { uid: 'TEST-000002-BCDEF', listenPort: 5555 },
    );
    const found = await find(spot);
    expect(found).toEqual([
      {
        uid: UID,
        endpoint: { address: '192.168.43.1', port: LISTEN_PORT },
        cipher: undefined,
        localAddress: undefined,
        afterMs: expect.any(Number),
      },
      {
        uid: 'TEST-000002-BCDEF',
        endpoint: { address: '192.168.43.9', port: 5555 },
        cipher: undefined,
        localAddress: undefined,
        afterMs: expect.any(Number),
      },
    ]);
    expect(found.every(({ afterMs }) => afterMs < 10)).toBe(true);
    expect([...first.device.sessions, ...second.device.sessions]).toEqual([]);
    await clock.runUntil(Promise.all([first.device.close(), second.device.close()]));
    expect(internet.openSockets).toBe(0);
    await clock.advance(100);
    expect(clock.pendingTimers).toBe(0);
  });

  test('two devices with one address in two networks are both found, each through its interface (C1)', async () => {
    const spot = hotspot();
    const { internet, phone } = spot;
    const other = internet.lan({ subnet: '192.168.43.0/24' });
    const twin = { ...spot, lan: other, camera: other.host({ address: '192.168.43.1' }) };
    const first = await startDevice(spot);
    const second = await startDevice(twin);
    phone.join(other, { address: '192.168.43.77' });
    const found = await find(spot);
    const endpoint = { address: '192.168.43.1', port: LISTEN_PORT };
    expect(found.map((device) => device.endpoint)).toEqual([endpoint, endpoint]);
    const own = phone.network.interfaces().flatMap(({ address, internal }) => (internal ? [] : [address]));
    expect(found.map((device) => device.localAddress).sort()).toEqual(own.sort());
    expect(own).toContain('192.168.43.77');
    const chosen = await find(spot, { localAddress: '192.168.43.77' });
    expect(chosen).toHaveLength(1);
    expect(second.device.sessions.concat(first.device.sessions)).toEqual([]);
  });

  test('tells the cipher in which a device answered', async () => {
    const spot = hotspot();
    await startDevice(spot, { keys: ['SHIX'], plaintext: false });
    const shix = new StreamCipher('SHIX');
    expect(await find(spot, { ciphers: [undefined, new StreamCipher('camera'), shix] })).toEqual([
      expect.objectContaining({ uid: UID, cipher: shix }),
    ]);
  });

  test('sweeps a subnet host by host, paced, where broadcasts are swallowed', async () => {
    const spot = hotspot();
    await startDevice(spot);
    const found = await find(spot, { broadcast: false, subnets: ['192.168.43.0/24'], durationMs: 900 });
    expect(found.map(({ uid }) => uid)).toEqual([UID]);
    const searches = spot.sent.filter(({ hex }) => hex === 'f1300000');
    expect(searches).toHaveLength(254);
    expect(new Set(searches.map(({ to }) => to)).size).toBe(254);
    const perInstant = new Map<number, number>();
    for (const { at } of searches) perInstant.set(at, (perInstant.get(at) ?? 0) + 1);
    expect(Math.max(...perInstant.values())).toBeLessThanOrEqual(32);
  });

  test('sweeps again after a second', async () => {
    const spot = hotspot();
    await find(spot, { broadcast: false, subnets: ['192.168.43.0/28'], durationMs: 2500 });
    expect(spot.sent.filter(({ hex }) => hex === 'f1300000')).toHaveLength(3 * 14);
  });

  test('refuses what is no network, and networks of more than 65,536 hosts', async () => {
    const spot = hotspot();
    await expect(find(spot, { subnets: ['192.168.43'] })).rejects.toMatchObject({ code: 'bad-argument' });
    await expect(find(spot, { subnets: ['10.0.0.0/8'] })).rejects.toMatchObject({ code: 'bad-argument' });
    await expect(find(spot, { subnets: ['fe80::/64'] })).rejects.toMatchObject({ code: 'bad-argument' });
    expect(spot.internet.openSockets).toBe(0);
  });

  test('ends at once when aborted or left, and leaves nothing behind (A6)', async () => {
    const spot = hotspot();
    const { clock, phone, internet } = spot;
    await startDevice(spot, { listenPort: 1000 });
    const controller = new AbortController();
    const aborted = find(spot, { durationMs: 60_000, signal: controller.signal });
    const reason = new AbortedError('enough');
    clock.timer(200, () => controller.abort(reason));
    await expect(aborted).rejects.toBe(reason);
    expect(clock.now()).toBe(200);

    const first = await clock.runUntil(
      (async () => {
        for await (const device of searchLan({ network: phone.network, clock, durationMs: 60_000 })) return device;
        return undefined;
      })(),
    );
    expect(first?.uid).toBe(UID);
    expect(internet.openSockets).toBe(2);
    expect(clock.pendingTimers).toBe(0);
  });

  test('is not flooded by a host that answers under ever new names', async () => {
    const spot = hotspot();
    const liar = await spot.camera.network.bindUdp({
      port: 32_108,
      onMessage(_data, from) {
        for (let n = 0; n < 3000; n++) {
          liar.send(encodeMessage({ type: 'PUNCH_PKT', uid: `LIAR-${String(n).padStart(6, '0')}-BCDEF` }), from);
        }
      },
    });
    expect(await find(spot, { durationMs: 150 })).toHaveLength(1024);
  });
});
