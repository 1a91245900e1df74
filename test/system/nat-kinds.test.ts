import { spawnSync } from 'node:child_process';
import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { type NatOptions, SimulatedInternet } from '@towpath/net/simulated';
import { discoverNat, type NatReport } from '@towpath/stun';
import { StunServer } from '@towpath/stun/server';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type LabHost, labAvailable, NAT_KINDS, type NatKind, says } from './support/lab.ts';
import { nineNats } from '@towpath/net/simulated';
import { NatLab, OURS, THEIRS } from './support/nat-lab.ts';

const CI = process.env.CI === 'true';
const noLab = !labAvailable();
const noCoturn = ['turnserver', 'turnutils_natdiscovery'].some((tool) => spawnSync(tool, ['-h']).error !== undefined);

const DISCOVER = new URL('./support/discover-nat.ts', import.meta.url).pathname;

/** What the kernel and the simulation must have in common. */
type Answer = Pick<NatReport, 'udp' | 'name' | 'mapping' | 'filtering' | 'ports' | 'portStep' | 'hairpin'>;

function answerOf({ udp, name, mapping, filtering, ports, portStep, hairpin }: NatReport): Answer {
  return { udp, name, mapping, filtering, ports, portStep, hairpin };
}

/** The test of RFC 5780 from inside a namespace, against a server of two addresses. */
async function discoverFrom(host: LabHost, server: string): Promise<Answer> {
  const { stdout, stderr } = await host.run(process.execPath, [DISCOVER, `${server}:3478`]);
  if (stdout === '') throw new Error(stderr);
  return answerOf(JSON.parse(stdout));
}

/** The same test in the simulated internet. */
async function discoverSimulated(options: NatOptions): Promise<Answer> {
  const clock = new VirtualClock();
  const random = new SeededRandom(1);
  const internet = new SimulatedInternet({ clock, random: new SeededRandom(2) });
  const host = internet.host();
  const second = host.join(internet.network);
  const server = await StunServer.listen(
    { network: host.network, clock },
    { address: host.address, port: 3478, alternate: { address: second.addresses[0], port: 3479 } },
  );
  const { network } = internet.nat(options).host();
  return answerOf(await clock.runUntil(discoverNat({ network, clock, random }, { servers: [server.local] })));
}

/** Port assignment of a NAT of the lab, in the simulation's terms. */
function portsOf({ mapping, ports }: NatKind): NatOptions['ports'] {
  return ports ?? (mapping === 'endpoint-independent' ? 'preserving' : 'random');
}

const SENTENCES = {
  'endpoint-independent': 'Endpoint Independent',
  'address-dependent': 'Address Dependent',
  'address-and-port-dependent': 'Address and Port Dependent',
} as const;

/** What `turnutils_natdiscovery` says of mapping and filtering, and where its mapping tests were answered from. */
async function foreign(host: LabHost, server: string) {
  const { stdout } = await host.run('turnutils_natdiscovery', ['-m', '-f', '-p', '3478', server]);
  return {
    mapping: /NAT with (.*) Mapping!/.exec(stdout)?.[1],
    filtering: /NAT with (.*) Filtering!/.exec(stdout)?.[1],
    origins: [...stdout.matchAll(/RFC 5780 response.*\n(?:.*\n)*?.*origin: : (.*):\d+/g)].map(([, origin]) => origin),
  };
}

describe.skipIf(noLab && !CI)(
  noLab ? 'the kernel’s NATs (skipped: needs root, iproute2 and nftables)' : 'the kernel’s NATs',
  () => {
    let lab: NatLab;
    beforeAll(async () => {
      lab = await NatLab.open();
    });
    afterAll(() => lab?.close());

    test.concurrent.each(nineNats)(
      '$name: the test of RFC 5780 says so, and the same as of the simulated NAT of that kind (C3)',
      async ({ name, ...kind }) => {
        const found = await discoverFrom(lab.behind(kind), OURS[0]);
        expect(found).toMatchObject({ udp: true, name, mapping: kind.mapping, filtering: kind.filtering });
        expect(found).toEqual(await discoverSimulated({ ...kind, ports: portsOf(kind) }));
      },
    );

    test.concurrent.each([
      ['in sequence', NAT_KINDS['symmetric-sequential'], { name: 'symmetric', ports: 'sequential', portStep: 1 }],
      ['at random', NAT_KINDS['symmetric-random'], { name: 'symmetric', ports: 'random' }],
      ['as they are', NAT_KINDS['port-restricted'], { name: 'port-restricted cone', ports: 'preserving' }],
    ] as const)('give ports out %s, and so do the simulated ones', async (_what, kind, expected) => {
      const found = await discoverFrom(lab.behind(kind), OURS[0]);
      expect(found).toMatchObject(expected);
      expect(found).toEqual(await discoverSimulated({ ...kind, ports: portsOf(kind) }));
    });

    test.concurrent('that let no UDP out are told as such, and so is the simulated one', async () => {
      const found = await discoverFrom(lab.behind(NAT_KINDS['udp-blocked']), OURS[0]);
      expect(found).toMatchObject({ udp: false, name: 'UDP blocked' });
      expect(found).toEqual(await discoverSimulated({ blocksUdp: true }));
    });
  },
);

const without = noLab || noCoturn;

describe.skipIf(without && !CI)(
  without
    ? 'coturn’s view of the kernel’s NATs (skipped: needs root, nftables and coturn)'
    : 'coturn’s view of the kernel’s NATs',
  () => {
    let lab: NatLab;
    beforeAll(async () => {
      lab = await NatLab.open();
      const theirs = lab.lab.host('coturn', ...THEIRS);
      const addresses = THEIRS.flatMap((address) => ['-L', address]);
      const options = ['-n', '--stun-only', '--no-cli', '--log-file', 'stdout', '--pidfile', '/dev/null'];
      await says(theirs.spawn('turnserver', [...options, ...addresses]), 'Total General servers');
    });
    afterAll(() => lab?.close());

    test.concurrent.each(nineNats)(
      '$name: turnutils_natdiscovery and our test agree, both with coturn’s server',
      async ({ name, ...kind }) => {
        // A host of its own for each program: what one has done changes what a NAT of the kernel does.
        const [theirs, ours] = await Promise.all([
          foreign(lab.behind(kind), THEIRS[0]),
          discoverFrom(lab.behind(kind), THEIRS[0]),
        ]);
        expect(theirs).toMatchObject({ mapping: SENTENCES[kind.mapping], filtering: SENTENCES[kind.filtering] });
        expect(ours).toMatchObject({ name, mapping: kind.mapping, filtering: kind.filtering });
      },
    );

    test.concurrent.each(nineNats.filter(({ mapping }) => mapping !== 'address-dependent'))(
      '$name: turnutils_natdiscovery says the same with our server',
      async ({ mapping, filtering }) => {
        const theirs = await foreign(lab.behind({ mapping, filtering }), OURS[0]);
        expect(theirs).toMatchObject({ mapping: SENTENCES[mapping], filtering: SENTENCES[filtering] });
      },
    );

    test.concurrent.each(nineNats.filter(({ mapping }) => mapping === 'address-dependent'))(
      '$name: with our server turnutils_natdiscovery asks the first address twice and never the second’s other port',
      async ({ mapping, filtering }) => {
        // It takes OTHER-ADDRESS of its second answer for the third test. RFC 5780 §7.4 makes that the first address
        // again; coturn's server does not follow it there. So this one distinction it cannot make.
        const theirs = await foreign(lab.behind({ mapping, filtering }), OURS[0]);
        expect(theirs.origins.slice(0, 3)).toEqual([OURS[0], OURS[1], OURS[0]]);
        expect(theirs).toMatchObject({
          mapping: SENTENCES['address-and-port-dependent'],
          filtering: SENTENCES[filtering],
        });
      },
    );
  },
);
