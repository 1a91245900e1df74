import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Lab, type LabHost, labAvailable, NAT_KINDS, says } from './support/lab.ts';

const R = '203.0.113.10';
const PUBLIC = '203.0.113.60';
const ENDS = new URL('./support/pppp-ends.ts', import.meta.url).pathname;
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
