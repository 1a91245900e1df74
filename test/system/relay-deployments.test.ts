import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SystemClock } from '@towpath/core';
import { timeLimitedCredentials } from '@towpath/stun/server';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Lab, type LabHost, labAvailable, says } from './support/lab.ts';
import type { RelayPairResult } from './support/relay-pair.ts';

// In CI what is missing is a failure, which the tests themselves then are.
const skip = !labAvailable() && process.env.CI !== 'true';
const title = skip ? 'deployments of the relay (skipped: root, ip or nft missing)' : 'deployments of the relay';

const PUBLIC = '203.0.113.50';
const PUBLIC_2 = '203.0.113.51';
const NAT_KIND = { mapping: 'endpoint-independent', filtering: 'address-and-port-dependent' } as const;

describe.skipIf(skip)(title, () => {
  let lab: Lab;
  let folder: string;
  let secretFile: string;
  beforeEach(() => {
    lab = new Lab();
    folder = mkdtempSync(join(tmpdir(), 'towpath-relay-'));
    secretFile = join(folder, 'relay.secret');
  });
  afterEach(async () => {
    await lab.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const withSecret = () => ['--secret-file', secretFile, '--create-secret'];

  /** Two clients on one host allocate and send to each other. */
  async function pair(
    host: LabHost,
    server: string,
    options: { transport?: 'udp' | 'tcp'; asked?: string[]; secret?: string } = {},
  ): Promise<RelayPairResult> {
    const { transport = 'udp', asked = [], secret = secretFile } = options;
    const [text = ''] = readFileSync(secret, 'utf8').split('\n');
    const { username, password } = timeLimitedCredentials(text, 'ann', 600_000, new SystemClock().wallTime());
    const args = ['test/system/support/relay-pair.ts', server, '3478', transport, username, password, ...asked];
    const { stdout, stderr } = await host.run(process.execPath, args, { timeoutMs: 60_000 });
    expect(stderr).toBe('');
    return JSON.parse(stdout);
  }

  /** A host behind a NAT that maps a public address to it, all ports, and does not send packets back in (hairpinning). */
  function behindOneToOneNat(): LabHost {
    const nat = lab.nat('cloud', PUBLIC, NAT_KIND);
    const host = nat.host('relay');
    lab.nft(
      nat.namespace,
      `flush ruleset
      table ip cloud {
        chain pre { type nat hook prerouting priority dstnat; iifname "wan" ip daddr ${PUBLIC} dnat to ${host.address}; }
        chain post { type nat hook postrouting priority srcnat; oifname "wan" ip saddr ${host.address} snat to ${PUBLIC}; }
        chain forward { type filter hook forward priority 0; iifname "br0" ip daddr ${PUBLIC} drop; }
      }`,
    );
    return host;
  }

  const everyPair = (result: RelayPairResult) => [result.heardFrom[0], result.heardFrom[1]];

  test.each(['udp', 'tcp'] as const)('one public address, clients behind a NAT, over %s', async (transport) => {
    const relay = lab.host('relay', PUBLIC);
    await says(relay.towpath(['relay', 'serve', '--address', PUBLIC, ...withSecret()]), 'tcp ');
    const client = lab.nat('home', '203.0.113.60', NAT_KIND).host('client');
    const result = await pair(client, PUBLIC, { transport, asked: [PUBLIC] });
    expect(everyPair(result)).toEqual([result.relayed[1], result.relayed[0]]);
    expect(result.answers).toEqual({ [PUBLIC]: PUBLIC });
  });

  test('two public addresses', async () => {
    const relay = lab.host('relay', PUBLIC, PUBLIC_2);
    await says(relay.towpath(['relay', 'serve', '--address', PUBLIC, PUBLIC_2, ...withSecret()]), 'tcp ');
    const client = lab.nat('home', '203.0.113.60', NAT_KIND).host('client');
    const result = await pair(client, PUBLIC_2, { asked: [PUBLIC, PUBLIC_2] });
    expect(everyPair(result)).toEqual([result.relayed[1], result.relayed[0]]);
    expect(result.answers).toEqual({ [PUBLIC]: PUBLIC, [PUBLIC_2]: PUBLIC_2 });
  });

  test.each([
    ['0.0.0.0', []],
    ['0.0.0.0', ['--workers', '2']],
  ])('behind a one-to-one NAT, listening on %s %j (A5)', async (address, more) => {
    const relay = behindOneToOneNat();
    const args = ['--address', address, '--relay-address', relay.address, '--public-address', PUBLIC, ...more];
    await says(relay.towpath(['relay', 'serve', ...args, ...withSecret()]), 'tcp ', 20_000);
    const client = lab.host('client', '203.0.113.70');
    const result = await pair(client, PUBLIC, { asked: [PUBLIC] });
    expect(result.relayed.map((each) => each.address)).toEqual([PUBLIC, PUBLIC]);
    expect(everyPair(result)).toEqual([result.relayed[1], result.relayed[0]]);
    expect(result.answers).toEqual({ [PUBLIC]: PUBLIC });
  });

  test('0.0.0.0 on a host with several addresses answers from the one that was asked, also from a new one (A5)', async () => {
    const relay = lab.host('relay', PUBLIC, PUBLIC_2);
    const args = ['relay', 'serve', '--address', '0.0.0.0', '--relay-address', PUBLIC, ...withSecret()];
    await says(relay.towpath(args), 'tcp ');
    const client = lab.host('client', '203.0.113.70');
    const asked = [PUBLIC, PUBLIC_2];
    const result = await pair(client, PUBLIC_2, { asked });
    expect(result.answers).toEqual({ [PUBLIC]: PUBLIC, [PUBLIC_2]: PUBLIC_2 });
    expect(everyPair(result)).toEqual([result.relayed[1], result.relayed[0]]);
    const later = '203.0.113.52';
    execFileSync('ip', ['-n', relay.namespace, 'addr', 'add', `${later}/24`, 'dev', 'eth0']);
    await expect
      .poll(async () => (await pair(client, PUBLIC, { asked: [later] })).answers, { timeout: 60_000, interval: 1_000 })
      .toEqual({ [later]: later });
  });

  test.each([
    ['public', () => lab.host('relay', PUBLIC)],
    ['behind a one-to-one NAT', behindOneToOneNat],
  ])('the relay of `towpath serve --address 0.0.0.0 --public-address`, %s (A5)', async (_where, place) => {
    const server = place();
    const data = join(folder, 'data');
    await says(
      server.towpath(['serve', '--address', '0.0.0.0', '--public-address', PUBLIC, '--data', data]),
      'turn-tcp',
      30_000,
    );
    const client = lab.nat('home', '203.0.113.60', NAT_KIND).host('client');
    const result = await pair(client, PUBLIC, { asked: [PUBLIC], secret: join(data, 'turn.secret') });
    expect(result.relayed.map((each) => each.address)).toEqual([PUBLIC, PUBLIC]);
    expect(everyPair(result)).toEqual([result.relayed[1], result.relayed[0]]);
  });

  test('STUN only, on two addresses', async () => {
    const relay = lab.host('relay', PUBLIC, PUBLIC_2);
    await says(relay.towpath(['relay', 'serve', '--no-relay', '--address', PUBLIC, PUBLIC_2]), 'tcp ');
    const client = lab.host('client', '203.0.113.70');
    const args = ['test/system/support/relay-pair.ts', PUBLIC, '3478', 'udp', '', '', PUBLIC, PUBLIC_2];
    const { stdout } = await client.run(process.execPath, args);
    expect(JSON.parse(stdout).answers).toEqual({ [PUBLIC]: PUBLIC, [PUBLIC_2]: PUBLIC_2 });
  });
});
