import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { PYTHON } from './support/python.ts';
import { Lab, LabHost, labAvailable, NAT_KINDS, says } from './support/lab.ts';

// In CI what is missing is a failure, which the tests themselves then are.
const missing = !labAvailable() || spawnSync(PYTHON, ['-V']).error !== undefined;
const skip = missing && process.env.CI !== 'true';
const title = skip ? 'routers that misbehave (skipped: root, ip, nft or python3 missing)' : 'routers that misbehave';

const GATEWAY = new URL('../../../shared/cases/fakegw.py', import.meta.url).pathname;
const MAP_PORT = new URL('./support/map-port.ts', import.meta.url).pathname;
const PORT = 41_000;
const EXTERNAL = '198.51.100.77';

interface Outcome {
  /** What was granted; undefined when nothing was. */
  mapped: { via: string; external: { address: string; port: number } } | undefined;
  failure: string | undefined;
  /** What the program said when it ended. */
  said: string;
  /** What the router noted. */
  adds: string[];
  /** External ports that the router still forwards. */
  rules: number[];
  router: string;
}

describe.skipIf(skip)(title, () => {
  let lab: Lab;
  let homes = 0;
  beforeAll(() => {
    lab = new Lab();
  });
  afterAll(() => lab?.close());

  /** Maps a port at a router of this kind, keeps it for a while, and ends. */
  async function tryRouter(
    mode: string,
    options: { replies?: boolean; keepMs?: number; lifetimeS?: number } = {},
  ): Promise<Outcome> {
    const { keepMs = 0, lifetimeS = 600 } = options;
    const nat = lab.nat(`gw${++homes}`, `203.0.113.${100 + homes}`, NAT_KINDS['port-restricted']);
    const laptop = nat.host(`pc${homes}`);
    const address = laptop.address.replace(/\d+$/, '1');
    const router = new LabHost('router', nat.namespace, address);
    const reply = options.replies ? address.replace(/\d+$/, '250') : undefined;
    if (reply) await router.run('ip', ['addr', 'add', `${reply}/24`, 'dev', 'br0']);
    const gateway = router.spawn(PYTHON, ['-u', GATEWAY, mode, address, ...(reply ? [reply] : [])]);
    let log = '';
    for (const stream of [gateway.stdout, gateway.stderr]) stream?.on('data', (data) => (log += data));
    const ports = mode.startsWith('pmp') ? ['-Hlun', 'sport = :5351'] : ['-Hltn', 'sport = :5000'];
    // Not `expect.poll`: it needs the test that is running, and concurrent tests share one `expect`.
    await vi.waitFor(async () => expect((await router.run('ss', ports)).stdout).not.toBe(''), { timeout: 20_000 });
    const mapping = laptop.spawn(process.execPath, [MAP_PORT, String(PORT), String(lifetimeS)]);
    let said = '';
    mapping.stdout?.on('data', (data) => (said += data));
    const ended = once(mapping, 'close');
    // A program that has failed ends at once, maybe before what it said was read.
    await Promise.race([says(mapping, /^(mapped|failed) /m, 60_000).catch(() => ended), ended]);
    if (said.includes('mapped ')) {
      if (keepMs > 0) await new Promise((resolve) => setTimeout(resolve, keepMs));
      mapping.kill('SIGTERM');
    }
    await ended;
    await router.stopAll();
    const granted = /^mapped (.*)$/m.exec(said)?.[1];
    const rules = log.match(/RULES \[.*\]/g)?.at(-1) ?? 'RULES []';
    return {
      mapped: granted === undefined ? undefined : JSON.parse(granted),
      failure: /^failed (.*)$/m.exec(said)?.[1],
      said: said.trim().split('\n').at(-1) ?? '',
      adds: log.match(/ADD .*/g) ?? [],
      rules: [...rules.matchAll(/\d+/g)].map(([port]) => Number(port)),
      router: log,
    };
  }

  test.concurrent.each([
    'plain',
    'twowan',
    'lease402',
    'lease501',
    'permanent',
    'sameport',
    'oddxml',
    'comment',
    'urlbase',
    'emptybase',
    'otherport',
    'nolength',
    'lfonly',
    'chunked',
    'slow',
    'nospace',
    'rootfirst',
    'mikrotik',
  ])('%s: the port is mapped with one rule, which is removed at the end', async (mode) => {
    const { mapped, said, adds, rules, failure, router } = await tryRouter(mode);
    expect([failure, router.includes('Traceback')]).toEqual([undefined, false]);
    expect(mapped).toMatchObject({ via: 'upnp', external: { address: EXTERNAL, port: PORT } });
    expect([said, rules]).toEqual(['removed', []]);
    const service = mode === 'twowan' ? 2 : 1;
    expect(adds.at(-1)).toMatch(new RegExp(`^ADD ${service} UDP ext ${PORT} -> 10\\.\\d+\\.0\\.2 ${PORT} lease `));
    const permanent = ['lease402', 'lease501', 'permanent'].includes(mode);
    expect(adds.map((line) => line.split('lease ')[1])).toEqual(permanent ? ['600', '0'] : ['600']);
  });

  test.concurrent('718: a renewal keeps the one rule, which is removed at the end (E1)', async () => {
    // Renewed after half of 20 s.
    const { mapped, said, adds, rules, router } = await tryRouter('718', { keepMs: 13_000, lifetimeS: 20 });
    expect(mapped).toMatchObject({ external: { address: EXTERNAL, port: PORT } });
    expect([said, rules]).toEqual(['removed', []]);
    expect(adds.length).toBeGreaterThan(2);
    expect(new Set(adds.map((line) => /ext (\d+)/.exec(line)?.[1]))).toEqual(new Set([String(PORT)]));
    expect(router).not.toMatch(/RULES \[.*,.*\]/);
  });

  test.concurrent('busy: the first port is taken; another one is mapped', async () => {
    const { mapped, said, rules, adds } = await tryRouter('busy');
    expect(mapped).toMatchObject({ via: 'upnp', external: { address: EXTERNAL } });
    expect(mapped?.external.port).not.toBe(PORT);
    expect([said, rules, adds.length]).toEqual(['removed', [], 2]);
  });

  test.concurrent.each([
    ['cgnat', '100.64.3.4'],
    ['doublenat', '192.168.1.3'],
  ])('%s: the address that the router has is told as it is', async (mode, address) => {
    const { mapped, said } = await tryRouter(mode);
    expect(mapped).toMatchObject({ external: { address, port: PORT } });
    expect(said).toBe('removed');
  });

  test.concurrent.each([
    ['emptyip', /no external address/],
    ['shutdown606', /606/],
    ['pmpgarbled', /internal port/],
  ])('%s: nothing is mapped, and the reason is said (E2)', async (mode, reason) => {
    const { mapped, failure, rules } = await tryRouter(mode);
    expect(mapped).toBeUndefined();
    expect(failure).toMatch(reason);
    expect(rules).toEqual([]);
  });

  test.concurrent.each([
    ['pmp', PORT],
    ['pmpotherport', 40_000 + (PORT % 1_000)],
  ])('%s: the port that NAT-PMP gives is used', async (mode, port) => {
    const { mapped, said } = await tryRouter(mode);
    expect(mapped).toMatchObject({ via: 'nat-pmp', external: { address: EXTERNAL, port } });
    expect(said).toBe('removed');
  });

  test.concurrent('locvip: an answer from another address of the router counts when its description is at the router', async () => {
    const { mapped, said } = await tryRouter('locvip', { replies: true });
    expect(mapped).toMatchObject({ via: 'upnp', external: { address: EXTERNAL, port: PORT } });
    expect(said).toBe('removed');
  });

  test.concurrent('carp: a description at another address is not believed to be the router, and is named (E4)', async () => {
    const { mapped, failure, adds } = await tryRouter('carp', { replies: true });
    expect([mapped, adds]).toEqual([undefined, []]);
    expect(failure).toMatch(/UPnP answers came from 10\.\d+\.0\.250, but not from the router on the path/);
  });
});
