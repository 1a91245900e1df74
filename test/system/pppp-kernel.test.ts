import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Lab, type LabHost, labAvailable, NAT_KINDS, says } from './support/lab.ts';

const R = '203.0.113.10';
const PUBLIC = '203.0.113.60';
const ENDS = new URL('./support/pppp-ends.ts', import.meta.url).pathname;
const COUNT = 500;
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
  },
);
