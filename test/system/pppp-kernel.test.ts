import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Lab, type LabHost, labAvailable, NAT_KINDS, says } from './support/lab.ts';

const R = '203.0.113.10';
/** The relay's address on its second uplink. */
const SECOND = '10.1.0.20';
const PUBLIC = '203.0.113.60';
const ENDS = new URL('./support/pppp-ends.ts', import.meta.url).pathname;
const END = new URL('./support/pppp-end.ts', import.meta.url).pathname;
const LIMITED = new URL('./support/limited-pppp-relay.ts', import.meta.url).pathname;
const COUNT = 500;
/** With headers of PPPP, UDP and IP. */
const DATA_BYTES = 1_008 + 28;
const FETCH = 'fetch("http://127.0.0.1:9000/metrics").then((r) => r.text()).then((t) => process.stdout.write(t))';

describe.skipIf(!labAvailable() && process.env.CI !== 'true')(
  'the relay of `towpath pppp serve` (needs root, iproute2, nftables)',
  () => {
    let lab: Lab;
    let relay: LabHost;

    beforeEach(() => {
      lab = new Lab();
      relay = lab.host('relay', R);
    });

    afterEach(() => lab.close());

    /** Behind a one-to-one NAT, and where forwarding is dropped, as Docker does it. */
    function behindNat(): LabHost {
      const nat = lab.nat('front', PUBLIC, NAT_KINDS['full-cone']);
      const host = nat.host('behind');
      lab.nft(
        nat.namespace,
        `flush ruleset
         table ip nat { chain pre { type nat hook prerouting priority -100; ip daddr ${PUBLIC} dnat to ${host.address}; };
           chain post { type nat hook postrouting priority 100; ip saddr ${host.address} oifname "wan" snat to ${PUBLIC}; }; }`,
      );
      lab.nft(
        host.namespace,
        'table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }',
      );
      return host;
    }

    test.each([
      ['kernel', 'its address', () => relay],
      ['kernel', '0.0.0.0', () => relay],
      ['user', 'its address', () => relay],
      ['kernel', '0.0.0.0 behind a one-to-one NAT with FORWARD dropped', behindNat],
      ['user', '0.0.0.0 behind a one-to-one NAT with FORWARD dropped', behindNat],
    ])('passes data both ways, and sees CLOSE, data plane %s, listening on %s (A7, D2)', async (plane, on, place) => {
      const host = place();
      const at = host === relay ? R : PUBLIC;
      const where = ['--address', on.startsWith('0.0.0.0') ? '0.0.0.0' : host.address, '--public-address', at];
      const serving = host.towpath(
        ['pppp', 'serve', ...where, '--data-plane', plane, '--metrics-port', '9000', '--json'],
        {},
      );
      const said = await says(serving, '"what":"metrics"', 30_000);
      expect(said).toContain(`{"type":"data-plane","version":1,"plane":"${plane}"`);
      const ended = says(serving, /"type":"ended".*\n/, 60_000);
      const ends = await lab.host('ends', '203.0.113.30').run(process.execPath, [ENDS, at, '32110', String(COUNT)]);
      expect(JSON.parse(ends.stdout)).toEqual({
        client: { data: COUNT, alive: 1, close: 0 },
        device: { data: COUNT, alive: 2, close: 1 },
      });
      // The session is over some seconds after CLOSE; what the kernel has forwarded counts.
      const bytes = 2 * COUNT * 1_008 + 4 * 4;
      expect(await ended).toContain(`"bytes":${bytes},`);
      const { stdout } = await host.run(process.execPath, ['-e', FETCH]);
      const value = (name: string) =>
        Number(new RegExp(`^towpath_relay_${name}(?:_total)? (\\d+)$`, 'm').exec(stdout)?.[1]);
      const inKernel = plane === 'kernel' ? 2 * COUNT : 0;
      expect(value('kernel_packets_to_peers') + value('kernel_packets_to_clients')).toBe(inKernel);
      expect(value('packets_forwarded')).toBe(2 * COUNT + 4 - inKernel);
    });

    /** One end of a session, that does what it is told. */
    async function end(host: LabHost, ...args: (string | number)[]) {
      const child = host.spawn(process.execPath, [END, ...args.map(String)], {}, 'pipe');
      const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
      const read = async () => JSON.parse((await lines.next()).value ?? '{}');
      const session = (await read()) as { magic: number; port: number };
      const ask = (line: string): Promise<Record<string, number>> => {
        child.stdin!.write(`${line}\n`);
        return read();
      };
      return { session, ask };
    }

    test.each([
      ['kernel', R, R],
      ['user', R, R],
      ['kernel', '0.0.0.0', SECOND],
      ['user', '0.0.0.0', SECOND],
    ])(
      'two uplinks, data plane %s, listening on %s: data passes by either one, the second end at %s (A7, D2)',
      async (plane, address, at) => {
        const router = lab.nat('second', '203.0.113.50', NAT_KINDS['full-cone']);
        lab.nft(router.namespace, 'flush ruleset');
        lab.join(relay, router, 'eth1', `${SECOND}/24`);
        const far = router.host('far');
        const near = lab.host('near', '203.0.113.30');
        await relay.run('ip', ['route', 'add', 'default', 'via', '10.1.0.1']);
        const filters = ['all', 'eth0', 'eth1'].map((each) => `net.ipv4.conf.${each}.rp_filter=0`);
        await relay.run('sysctl', ['-qw', ...filters]);
        await near.run('ip', ['route', 'add', '10.1.0.0/24', 'via', '203.0.113.50']);
        // What the second network sends to the first uplink's address comes by the second one.
        await far.run('ip', ['route', 'add', `${R}/32`, 'via', SECOND]);
        const where = ['--address', address, '--public-address', R, '--metrics-port', '9000', '--json'];
        await says(relay.towpath(['pppp', 'serve', '--data-plane', plane, ...where], {}), '"what":"metrics"', 30_000);
        const client = await end(near, R, 32_110);
        const { magic, port } = client.session;
        const device = await end(far, at, port, magic);
        for (const what of ['introduce', 'alive']) for (const each of [client, device]) await each.ask(what);
        const values = async () => {
          const { stdout } = await relay.run(process.execPath, ['-e', FETCH]);
          return (name: string) =>
            Number(new RegExp(`^towpath_relay_${name}(?:_total)? (\\d+)$`, 'm').exec(stdout)?.[1]);
        };
        if (plane === 'kernel') await expect.poll(async () => (await values())('kernel_sessions')).toBe(1);
        await Promise.all([client.ask('send 100'), device.ask('send 100')]);
        expect(await client.ask('seen')).toEqual({ [`${R}:${port}`]: 100 });
        expect(await device.ask('seen')).toEqual({ [`${at}:${port}`]: 100 });
        // Asymmetric where it can be: out by the second uplink, in by the first.
        await far.run('ip', ['route', 'del', `${R}/32`]);
        await device.ask('send 100');
        expect(await client.ask('seen')).toEqual({ [`${R}:${port}`]: 200 });
        const value = await values();
        expect(value('packets_forwarded')).toBe(2 + (plane === 'kernel' ? 0 : 300));
      },
    );

    test("a client's bytes of a day hold in the kernel within 5 %, and end its session; another loses nothing (A7, D2)", async () => {
      const perDay = 300_000;
      const serving = relay.spawn(process.execPath, [LIMITED, R, '32110', '1000000000', String(perDay)], {}, 'pipe');
      await says(serving, 'ready', 30_000);
      const meet = async (at: number) => {
        const client = await end(lab.host(`client${at}`, `203.0.113.${30 + at}`), R, 32_110);
        const { magic, port } = client.session;
        const device = await end(lab.host(`device${at}`, `203.0.113.${40 + at}`), R, port, magic);
        for (const what of ['introduce', 'alive']) for (const each of [client, device]) await each.ask(what);
        return { client, device, source: `${R}:${port}` };
      };
      const [bounded, free] = await Promise.all([meet(0), meet(1)]);
      const moved = async () => {
        const counted = says(serving, /\{.*\}\n/, 10_000);
        serving.kill('SIGUSR2');
        return (JSON.parse((await counted).trim().split('\n').at(-1)!) as { moved: number }).moved;
      };
      await expect.poll(moved, { timeout: 10_000 }).toBe(2);
      await Promise.all([bounded.device.ask('send 2000'), free.device.ask('send 200')]);
      await expect.poll(async () => (await bounded.client.ask('seen')).CLOSE, { timeout: 10_000 }).toBe(1);
      const passed = (await bounded.client.ask('seen'))[bounded.source]! * DATA_BYTES;
      expect(Math.abs(passed - perDay)).toBeLessThanOrEqual(0.05 * perDay);
      expect(await free.client.ask('seen')).toEqual({ [free.source]: 200 });
    });

    test('a client over its rate is limited by the kernel, and another loses nothing', async () => {
      const perSecond = 100_000;
      const serving = relay.spawn(process.execPath, [LIMITED, R, '32110', String(perSecond)], {}, 'pipe');
      await says(serving, 'ready', 30_000);
      const startedMs = performance.now();
      const passed = async (name: string, address: string, count: number) => {
        const { stdout } = await lab.host(name, address).run(process.execPath, [ENDS, R, '32110', String(count)]);
        const { client, device } = JSON.parse(stdout) as Record<'client' | 'device', { data: number }>;
        return client.data + device.data;
      };
      const [limited, free] = await Promise.all([
        passed('limited', '203.0.113.30', 4_000),
        passed('free', '203.0.113.31', 20),
      ]);
      const tookS = (performance.now() - startedMs) / 1_000;
      expect(free).toBe(2 * 20);
      // The kernel lets the bytes of a second pass at once, after which the rate holds.
      expect(limited * DATA_BYTES).toBeLessThanOrEqual(1.05 * perSecond * (tookS + 1));
      expect(limited * DATA_BYTES).toBeGreaterThan(perSecond);
      const counted = says(serving, /\{.*\}\n/, 10_000);
      serving.kill('SIGUSR2');
      expect(JSON.parse((await counted).trim().split('\n').at(-1)!)).toEqual({
        packetsOverRate: 2 * 4_000 - limited,
        moved: 2,
      });
    });
  },
);
