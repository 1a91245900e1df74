import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Lab, type LabHost, labAvailable, NAT_KINDS, says } from './support/lab.ts';
import { PPPP_ENDS, ppppEnd } from './support/pppp-lab.ts';

const R = '203.0.113.10';
/** The relay's address on its second uplink. */
const SECOND = '10.1.0.20';
/** A second one on its first. */
const SECONDARY = '203.0.113.11';
const PUBLIC = '203.0.113.60';
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
      const ends = await lab
        .host('ends', '203.0.113.30')
        .run(process.execPath, [PPPP_ENDS, at, '32110', String(COUNT)]);
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

    test.each(['kernel', 'user'])(
      'the public address is a secondary one, listening on 0.0.0.0, data plane %s: answers and data leave from it (A7, D2)',
      async (plane) => {
        await relay.run('ip', ['addr', 'add', `${SECONDARY}/24`, 'dev', 'eth0']);
        const where = ['--address', '0.0.0.0', '--public-address', SECONDARY, '--metrics-port', '9000', '--json'];
        const serving = relay.towpath(['pppp', 'serve', '--data-plane', plane, ...where], {});
        expect(await says(serving, '"what":"metrics"', 30_000)).toContain(`"plane":"${plane}"`);
        const client = await ppppEnd(lab.host('client', '203.0.113.30'), SECONDARY, 32_110);
        const { magic, port } = client.session;
        const device = await ppppEnd(lab.host('device', '203.0.113.31'), SECONDARY, port, magic);
        for (const what of ['introduce', 'alive']) for (const each of [client, device]) await each.ask(what);
        const values = async () => {
          const { stdout } = await relay.run(process.execPath, ['-e', FETCH]);
          return (name: string) =>
            Number(new RegExp(`^towpath_relay_${name}(?:_total)? (\\d+)$`, 'm').exec(stdout)?.[1]);
        };
        if (plane === 'kernel') await expect.poll(async () => (await values())('kernel_sessions')).toBe(1);
        await Promise.all([client.ask('send 100'), device.ask('send 100')]);
        for (const each of [client, device]) expect(await each.ask('seen')).toEqual({ [`${SECONDARY}:${port}`]: 100 });
        expect((await values())('packets_forwarded')).toBe(2 + (plane === 'kernel' ? 0 : 200));
      },
    );

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
        const client = await ppppEnd(near, R, 32_110);
        const { magic, port } = client.session;
        const device = await ppppEnd(far, at, port, magic);
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
  },
);
