import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { NetworkChange } from '@towpath/net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Lab, type LabHost, type LabNat, labAvailable, NAT_KINDS } from './support/lab.ts';

const CI = process.env.CI === 'true';
const WATCH = new URL('./support/watch-network.ts', import.meta.url).pathname;
const POLL_MS = 200;

describe.skipIf(!labAvailable() && !CI)('changes of a real network', () => {
  let lab: Lab;
  let nat: LabNat;
  let host: LabHost;
  let reports: AsyncIterator<string>;
  let pid: number | undefined;

  const ip = (...args: string[]) => execFileSync('ip', ['-n', host.namespace, ...args]);

  /** Collects reports until all of `wanted` have come, in any order and in one report or several. */
  const reported = async (...wanted: Partial<NetworkChange>[]) => {
    const seen: NetworkChange[] = [];
    const missing = () =>
      wanted.filter(
        (one) => !seen.some((change) => Object.entries(one).every(([k, v]) => Reflect.get(change, k) === v)),
      );
    while (missing().length > 0) {
      const { value, done } = await reports.next();
      if (done) throw new Error(`Ended without ${JSON.stringify(missing())}; reported: ${JSON.stringify(seen)}`);
      seen.push(...(JSON.parse(value) as NetworkChange[]));
    }
    return seen;
  };

  beforeAll(async () => {
    lab = new Lab();
    nat = lab.nat('router', '203.0.113.10', NAT_KINDS['port-restricted']);
    host = nat.host('laptop');
    const child = host.spawn(process.execPath, [WATCH, String(POLL_MS)]);
    pid = child.pid;
    if (child.stdout === null) throw new Error('The program has no output.');
    await once(child, 'spawn');
    reports = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  });

  afterAll(() => lab.close());

  test('the default route is the one that the kernel uses', async () => {
    const { value } = await reports.next();
    expect(JSON.parse(value).route).toEqual({
      family: 4,
      interface: 'eth0',
      source: host.address,
      gateway: host.address.replace(/\d+$/, '1'),
    });
  });

  test('another address is reported when it comes and when it goes, and nothing else with it (C8)', async () => {
    ip('addr', 'add', '192.0.2.50/24', 'dev', 'eth0');
    const added = await reported({ kind: 'address-added', address: '192.0.2.50', name: 'eth0' });
    ip('addr', 'del', '192.0.2.50/24', 'dev', 'eth0');
    const removed = await reported({ kind: 'address-removed', address: '192.0.2.50', name: 'eth0' });
    // IPv6 addresses of the link may become usable meanwhile; the route and the interface do not change.
    for (const { kind } of [...added, ...removed]) expect(kind).toMatch(/^address-/);
  });

  test('a link that goes down takes its address and the default route along, and brings them back (C8)', async () => {
    ip('link', 'set', 'eth0', 'down');
    const lost = await reported(
      { kind: 'interface-down', name: 'eth0' },
      { kind: 'address-removed', address: host.address },
      { kind: 'default-route-changed', family: 4, after: undefined },
    );
    const route = lost.find((change) => change.kind === 'default-route-changed' && change.family === 4);
    expect(route).toMatchObject({ before: { interface: 'eth0', source: host.address } });
    ip('link', 'set', 'eth0', 'up');
    ip('route', 'add', 'default', 'via', host.address.replace(/\d+$/, '1'));
    await reported(
      { kind: 'interface-up', name: 'eth0' },
      { kind: 'address-added', address: host.address },
      { kind: 'default-route-changed', family: 4 },
    );
  });

  test('a second uplink that the default route moves to (C8)', async () => {
    lab.join(host, nat, 'eth1', '10.1.0.99/24');
    ip('route', 'replace', 'default', 'via', '10.1.0.1', 'dev', 'eth1', 'src', '10.1.0.99');
    const changes = await reported(
      { kind: 'address-added', address: '10.1.0.99' },
      { kind: 'default-route-changed', family: 4 },
    );
    const route = changes.findLast((change) => change.kind === 'default-route-changed');
    expect(route).toMatchObject({ after: { interface: 'eth1', source: '10.1.0.99', gateway: '10.1.0.1' } });
  });

  test('a process that was stopped for longer than 5 s learns of it as of a sleep (C8)', async () => {
    process.kill(pid!, 'SIGSTOP');
    await new Promise((resolve) => setTimeout(resolve, 6_500));
    process.kill(pid!, 'SIGCONT');
    const [sleep] = (await reported({ kind: 'sleep' })).filter(({ kind }) => kind === 'sleep');
    expect(sleep).toMatchObject({ sleptMs: expect.any(Number) });
    expect((sleep as { sleptMs: number }).sleptMs).toBeGreaterThan(5_000);
  });
});
