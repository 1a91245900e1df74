import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { ServerNames } from '../src/http/server-names.ts';
import { generateNodeIdentity } from '../src/identity/node-identity.ts';
import { authorityOf, signRequest } from '../src/wire/request-signing.ts';
import { ControlClient } from '../src/client/control-client.ts';
import { HttpTransport } from '../src/client/http-transport.ts';
import { MemoryStore } from '../src/store/memory-store.ts';
import type { ServerMessage } from '../src/wire/messages.ts';
import { clock, Rig, random, signedHeaders, until } from './http-fixture.ts';
import { scene, shiftedClock } from './malicious-plane.ts';

interface Captured {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A hostile server: refuses everything, and keeps what nodes sign for it. */
async function hostileServer(stack: AsyncDisposableStack): Promise<{ address: string; captured: Captured[] }> {
  const captured: Captured[] = [];
  const server = createServer((request, answer) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const { method = '', url: path = '', headers } = request;
      captured.push({ method, path, headers, body: Buffer.concat(parts).toString() });
      answer.writeHead(503).end();
    });
  });
  server.on('upgrade', (request, socket) => {
    captured.push({ method: 'GET', path: request.url ?? '', headers: request.headers, body: '' });
    socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stack.defer(() => {
    server.closeAllConnections();
    server.close();
  });
  return { address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, captured };
}

const signedOf = ({ headers }: Captured) =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => /^towpath-|^content-type$/.test(name))) as Record<
    string,
    string
  >;

function refusalOfSocket(address: string, headers: Record<string, string>): Promise<number | 'connected'> {
  return new Promise((resolve) => {
    const socket = new WebSocket(`${address.replace('http', 'ws')}/v1/socket`, { headers });
    socket.on('unexpected-response', (_, answer) => resolve(answer.statusCode ?? 0));
    socket.on('open', () => {
      resolve('connected');
      socket.terminate();
    });
    socket.on('error', () => {});
  });
}

describe('requests that were signed for a hostile server', () => {
  test('are refused by an honest one: no connection as that member, no change in its name (B2)', async () => {
    await using stack = new AsyncDisposableStack();
    const rig = stack.use(new Rig());
    const honest = await rig.server();
    const hostile = await hostileServer(stack);
    const member = generateNodeIdentity(random);
    const ann = await rig.client([honest.address], { identity: member, live: false });
    const { id } = await ann.createParty({ name: 'camp', memberName: 'Ann' });

    const victim = await rig.client([hostile.address], { identity: member });
    await expect(victim.createParty({ name: 'x', memberName: 'y' })).rejects.toMatchObject({
      code: 'server-unavailable',
    });
    await until(() => hostile.captured.some(({ path }) => path === '/v1/socket'), 'the connection');
    const upgrade = hostile.captured.find(({ path }) => path === '/v1/socket')!;
    expect(await refusalOfSocket(honest.address, signedOf(upgrade))).toBe(421);
    const renamed = { ...signedOf(upgrade), 'towpath-server': authorityOf(new URL(honest.address)) };
    expect(await refusalOfSocket(honest.address, renamed)).toBe(401);

    const creation = hostile.captured.find(({ method }) => method === 'POST')!;
    const replayed = await fetch(honest.address + creation.path, {
      method: 'POST',
      headers: signedOf(creation),
      body: creation.body,
    });
    expect([replayed.status, await replayed.json()]).toMatchObject([421, { code: 'wrong-server' }]);
    expect(await ann.refresh(id)).toMatchObject({ name: 'camp' });
  });

  test('are refused whatever the request is, and for a name that no operator gave (B2)', async () => {
    await using rig = new Rig();
    const server = await rig.server({ names: ['control.example.org'] });
    const node = generateNodeIdentity(random);
    const ask = async (name: string, path = '/v1/relays') => {
      const parts = { method: 'GET', path, body: new Uint8Array(0) };
      const about = { server: name, timeMs: clock.wallTime(), nonce: random.bytes(16) };
      return (await fetch(server.address + path, { headers: signRequest(node.signing, parts, about) })).status;
    };
    const own = authorityOf(new URL(server.address));
    expect([await ask(own), await ask('control.example.org:443'), await ask(`localhost:${own.split(':')[1]}`)]).toEqual(
      [200, 200, 200],
    );
    expect([await ask('evil.example:4100'), await ask('127.0.0.1:1'), await ask('127.0.0.2:4100')]).toEqual([
      421, 421, 421,
    ]);
  });
});

describe('names of a server', () => {
  const names = new ServerNames(['Towpath.example', '192.0.2.9:4100', '2001:db8::1']);
  const local = { address: '::ffff:10.0.0.5', port: 4100 };

  test('are what the operator gave and where the connection leads', () => {
    for (const known of ['towpath.EXAMPLE:443', '192.0.2.9:4100', '[2001:db8::1]:80', '10.0.0.5:4100']) {
      expect([known, names.accepts(known, local)]).toEqual([known, true]);
    }
    for (const foreign of ['192.0.2.9:80', '10.0.0.5:80', 'towpath.example.evil:443', '', 'localhost:4100', ':4100']) {
      expect([foreign, names.accepts(foreign, local)]).toEqual([foreign, false]);
    }
    expect(names.accepts('localhost:4100', { address: '::1', port: 4100 })).toBe(true);
    expect(names.accepts('[::1]:4100', { address: '::1', port: 4100 })).toBe(true);
    expect(names.accepts('10.0.0.5:4100', { address: undefined, port: undefined })).toBe(false);
  });

  test('decide which Host headers a browser may have been led here with (A9)', () => {
    for (const host of ['localhost', 'localhost:1', '127.0.0.1:4100', '[::1]:4100', 'towpath.example', undefined]) {
      expect([host, names.isForeignHost(host)]).toEqual([host, false]);
    }
    for (const host of ['evil.example', 'evil.example:4100', 'localhost.evil.example', '127.0.0.1.evil.example', '']) {
      expect([host, names.isForeignHost(host)]).toEqual([host, true]);
    }
  });
});

test.each(['/metrics', '/health', '/ready', '/openapi.json', '/v1/relays'])(
  '%s is not shown to web pages, nor under a name that is not the server’s (A9)',
  async (path) => {
    await using rig = new Rig();
    const server = await rig.server();
    const status = async (headers: Record<string, string>) => (await server.inject({ url: path, headers })).statusCode;
    expect(await status({ host: 'evil.example:4100' })).toBe(403);
    expect(await status({ origin: 'https://evil.example' })).toBe(403);
    expect(await status({ host: '127.0.0.1:4100' })).not.toBe(403);
  },
);

describe('after a restart (B6)', () => {
  test.each(['GET', 'PUT'])(
    'a server refuses a repeated %s request that the one before had answered',
    async (method) => {
      await using rig = new Rig();
      const first = await rig.server();
      const node = generateNodeIdentity(random);
      const [path, body] = method === 'GET' ? ['/v1/relays', ''] : ['/v1/relays/r', '{}'];
      const headers = {
        ...signedHeaders(node, method, path, body),
        ...(body && { 'content-type': 'application/json' }),
      };
      const ask = async (address: string) => {
        const answer = await fetch(address + path, { method, headers, ...(body && { body }) });
        return (await answer.json()) as { code?: string; details?: object };
      };
      expect((await ask(first.address)).code ?? '').not.toMatch(/replayed|clock-skew|unauthorized/);
      expect(await ask(first.address)).toMatchObject({ code: 'replayed' });
      await clock.sleep(2);
      // Whatever the first one remembered is gone.
      const second = await rig.server();
      expect(await ask(second.address)).toMatchObject({
        code: 'clock-skew',
        message: expect.stringContaining('before this server started'),
        details: { serverTimeMs: expect.any(Number) },
      });
    },
  );

  test('a store that may have lost nonces counts as one', async () => {
    await using rig = new Rig();
    const listeners: (() => void)[] = [];
    class FlakyStore extends MemoryStore {
      override onBusRestored(listener: () => void): () => void {
        listeners.push(listener);
        return () => {};
      }
    }
    const server = await rig.server({}, new FlakyStore({ clock }));
    const node = generateNodeIdentity(random);
    const headers = signedHeaders(node, 'GET', '/v1/relays');
    await clock.sleep(2);
    for (const listener of listeners) listener();
    const answer = await fetch(`${server.address}/v1/relays`, { headers });
    expect(await answer.json()).toMatchObject({ code: 'clock-skew' });
  });

  test('nodes connect at once, also those whose clock is behind', async () => {
    await using rig = new Rig();
    const server = await rig.server();
    const slow = shiftedClock(clock, -20_000);
    const client = await ControlClient.open({
      transport: new HttpTransport({ clock: slow, random }, { servers: [server.address] }),
      identity: generateNodeIdentity(random),
      clock: slow,
      random,
      live: true,
    });
    await client.createParty({ name: 'camp', memberName: 'Ann' });
    await until(() => client.connected, 'the connection');
    await client.close();
  });

  test('a node refuses signals of before, and takes new ones', async () => {
    const { clock: time, plane, ann, bob, party, state, log, idOf } = await scene();
    const pushed: ServerMessage[] = [];
    bob.lies.push = (message) => {
      if (message.type === 'signal') pushed.push(message);
      return message;
    };
    await time.runUntil(ann.client.signal(party, idOf(bob), Buffer.from('once')));
    await time.advance(10);
    expect(bob.signals).toHaveLength(1);
    const saved = { partyKey: (await state()).partyKey, statements: await log(), announcements: new Map() };
    const bobsId = idOf(bob);
    await bob.client.close();
    await time.advance(1_000);
    const again = await plane.victim({ identity: bob.identity, saved: [saved] });
    await time.advance(1_000);
    for (const message of pushed) again.inject(message);
    await time.advance(10);
    expect(again.signals).toEqual([]);
    await time.runUntil(ann.client.signal(party, bobsId, Buffer.from('twice')));
    await time.advance(10);
    expect(again.signals.map(({ data }) => Buffer.from(data).toString())).toEqual(['twice']);
    await plane.close();
  });
});
