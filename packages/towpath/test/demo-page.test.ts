import { existsSync } from 'node:fs';
import { silentLog } from '@towpath/core';
import {
  daemonStatusSchema,
  issuedInviteSchema,
  peerDetailSchema,
  relaySchema,
  routePath,
} from '@towpath/dashboard/api';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import type { Runtime } from '../src/cli/runtime.ts';
import { type DemoPage, openDemoPage } from '../src/commands/demo/demo-page.ts';
import { components } from './command-line.ts';
import { body, emulatedCamera, until } from './daemon-rig.ts';
import { testIo } from './test-io.ts';

describe('the daemon of the demo: two peers behind simulated NATs, and a camera (C3, C13)', () => {
  let page: DemoPage;
  let camera: Awaited<ReturnType<typeof emulatedCamera>>;
  beforeAll(async () => {
    camera = await emulatedCamera();
    const signal = new AbortController().signal;
    const runtime: Runtime = { ...components, io: testIo(), log: silentLog, signal, configFolder: '/nonexistent' };
    const [, ports = '', , search = ''] = camera.flags;
    page = await openDemoPage(runtime, [{ name: 'demo', port: Number(ports), searchPort: Number(search) }]);
    await until(() => peers().length === 2 && peers().every(({ status }) => status === 'connected'));
  }, 180_000);
  afterAll(async () => {
    const folder = page.daemon.runtime.configFolder;
    await page[Symbol.asyncDispose]();
    await camera.camera.close();
    expect(existsSync(folder)).toBe(false);
  });
  const peers = () => [...page.daemon.parties.values()].flatMap((runner) => runner.peers());
  const [party] = [() => [...page.daemon.parties.keys()][0]!];
  const ask = async (path: string, init: RequestInit = {}): Promise<unknown> => {
    const token = page.link.split('#token=')[1];
    const answer = await fetch(`${page.address}${path}`, {
      ...init,
      headers: { authorization: `Bearer ${token}`, ...init.headers },
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${answer.status} ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  };

  test('one peer is reached directly and one through the relay, and the API says why', async () => {
    const status = daemonStatusSchema.parse(await ask('/v1/status'));
    expect(status.parties).toMatchObject([{ name: 'demo', state: 'up', connected: true }]);
    expect(status.parties[0]?.members.map(({ name }) => name)).toEqual(['this-machine', 'ben', 'cabin']);
    const [ben, cabin] = status.parties[0]!.peers;
    expect([ben, cabin]).toMatchObject([
      { name: 'ben', strategy: 'direct' },
      { name: 'cabin', strategy: 'relay' },
    ]);
    const detail = peerDetailSchema.parse(await ask(routePath('peer', { party: party(), peer: 'cabin' })));
    expect(detail.why).toMatchObject({ verdict: 'relayed', next: expect.arrayContaining([expect.any(String)]) });
    expect(detail.races.length).toBeGreaterThan(0);
    expect(detail.timeline.at(-1)?.kind).toBe('relay');
    const relays = z.array(relaySchema).parse(await ask('/v1/relays'));
    expect(relays).toMatchObject([{ id: 'demo', peers: ['cabin'] }]);
  });

  test('an echo is sent through the tunnel, and a peer that is not there is said', async () => {
    const path = routePath('ping', { party: party(), peer: 'ben' });
    expect(await ask(path, { method: 'POST' })).toEqual({ rttMs: expect.any(Number) });
    await expect(ask(routePath('peer', { party: party(), peer: 'nobody' }))).rejects.toThrow(
      /404 .*Members: ben, cabin/,
    );
  });

  test('an accepted network that is not routed is a problem, with the reason (C13, C14)', async () => {
    const [runner] = page.daemon.parties.values();
    await runner!.setAccepted([{ peer: 'nobody', network: '192.168.43.0/24' }]);
    const unknown = { code: 'unknown-member', message: expect.stringContaining('demo has no other member nobody') };
    expect(page.daemon.problems()).toMatchObject([unknown]);
    runner!.node!.network.notRouted.set('192.168.44.0/24', 'it is reached through eth0');
    expect(page.daemon.problems()).toMatchObject([
      { code: 'not-routed', message: 'it is reached through eth0' },
      unknown,
    ]);
    runner!.node!.network.notRouted.clear();
    await runner!.setAccepted([]);
    expect(page.daemon.problems()).toEqual([]);
  });

  test("a control server's wrong date is a problem until the server is right (B1)", async () => {
    const [runner] = page.daemon.parties.values();
    const message = 'The control server says that it is 2076. Next: compare with another clock.';
    const told = vi.spyOn(runner!.node!.node.client, 'clockProblem', 'get').mockReturnValue({ message, sinceMs: 0 });
    const at = '1970-01-01T00:00:00.000Z';
    expect(daemonStatusSchema.parse(await ask('/v1/status')).problems).toEqual([
      { code: 'clock-skew', message: `demo: ${message}`, at },
    ]);
    expect(await ask('/health')).toEqual({ status: 'degraded', problems: ['clock-skew'] });
    told.mockRestore();
    expect(page.daemon.problems()).toEqual([]);
  });

  test('an invite is issued, listed and revoked', async () => {
    const path = routePath('invites', { party: party() });
    const issued = issuedInviteSchema.parse(await ask(path, body({ uses: 2, hours: 1 })));
    expect(issued.invite).toMatchObject({ state: 'open', maxUses: 2, issuer: 'this-machine' });
    expect(issued.link).toContain('towpath');
    await ask(routePath('revokeInvite', { party: party(), invite: issued.invite.id }), { method: 'DELETE' });
    const states = (await ask(path)) as { id: string; state: string }[];
    expect(states.find(({ id }) => id === issued.invite.id)?.state ?? 'revoked').toBe('revoked');
  });
});
