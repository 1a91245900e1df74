import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, request as httpRequest } from 'node:http';
import { createServer as createHttpsServer, request as httpsRequest } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { toBase64 } from '@towpath/membership';
import { WebSocket } from 'ws';
import { openLiveSocket } from '../src/client/live-socket.ts';
import { ControlError } from '../src/control-error.ts';
import type { ControlServer, ControlServerOptions } from '../src/http/control-server.ts';
import { generateNodeIdentity } from '../src/identity/node-identity.ts';
import { clock, Rig, random, signedHeaders, until } from './http-fixture.ts';
import { makeParty } from './load/swarm.ts';

const pem = (name: string) => readFileSync(new URL(`fixtures/loopback-${name}.pem`, import.meta.url), 'utf8');
const CERT = pem('cert');
const TLS = { cert: CERT, key: pem('key') };
/** Another address of this machine: whoever does its worst. */
const STRANGER = '127.0.0.2';

type Transport = 'tcp' | 'tls';

/** Connections of a stranger; all of them end with it. */
class Stranger implements Disposable {
  readonly sockets: Socket[] = [];
  readonly #server: ControlServer;

  constructor(server: ControlServer) {
    this.#server = server;
  }

  async tcp(): Promise<Socket> {
    const { hostname, port } = new URL(this.#server.address);
    const socket = connect({ host: hostname, port: Number(port), localAddress: STRANGER });
    socket.on('error', () => {});
    this.sockets.push(socket);
    await Promise.race([once(socket, 'connect'), once(socket, 'close')]);
    return socket;
  }

  async stream(transport: Transport): Promise<Socket> {
    const tcp = await this.tcp();
    if (transport === 'tcp') return tcp;
    const tls = connectTls({ socket: tcp, rejectUnauthorized: false });
    tls.on('error', () => {});
    await Promise.race([once(tls, 'secureConnect'), once(tcp, 'close')]);
    return tls;
  }

  [Symbol.dispose](): void {
    for (const socket of this.sockets) socket.destroy();
  }
}

/** A new client's first request. @returns the status, and how long it took. */
function ask(server: ControlServer, localAddress: string): Promise<{ status: number; tookMs: number }> {
  const startedAt = clock.now();
  return new Promise((resolve, reject) => {
    const url = new URL('/v1/relays', server.address);
    const request = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const headers = signedHeaders(generateNodeIdentity(random), 'GET', '/v1/relays');
    const options = {
      headers,
      localAddress,
      agent: false as const,
      ...(url.protocol === 'https:' ? { ca: CERT } : {}),
    };
    const asked = request(url, options, (answer) => {
      answer.resume();
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, tookMs: clock.now() - startedAt }));
    });
    asked.on('error', reject);
    asked.end();
  });
}

async function gauge(server: ControlServer, name: string): Promise<number> {
  const { body } = await server.inject({ url: '/metrics' });
  return Number(new RegExp(`^towpath_control_${name} (\\d+)`, 'm').exec(body)?.[1]);
}

describe.each(['tcp', 'tls'] as const)('the listener over %s', (transport) => {
  const connections = { total: 120, perAddress: 60, unprovenTotal: 80, unprovenPerAddress: 40 };
  const start = (rig: Rig, init: ControlServerOptions = {}) =>
    rig.server({ connections, ...(transport === 'tls' ? { tls: TLS } : {}), ...init });

  const misdeeds: [string, (stranger: Stranger) => Promise<void>][] = [
    ['connects and says nothing', async (stranger) => void (await stranger.tcp())],
    [
      'sends half a request',
      async (stranger) => void (await stranger.stream(transport)).write('GET /v1/relays HTTP/1.1\r\nho'),
    ],
    ['sends garbage', async (stranger) => void (await stranger.stream(transport)).write(Buffer.alloc(8, 0xee))],
    ['resets its connection', async (stranger) => void (await stranger.tcp()).resetAndDestroy()],
    [
      'sends garbage instead of a handshake',
      async (stranger) => void (await stranger.tcp()).write(Buffer.from('160301ffffffffffffffff', 'hex')),
    ],
    [
      'promises a body and does not send it',
      async (stranger) => {
        const head = 'POST /v1/parties HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 9000\r\n\r\n{';
        (await stranger.stream(transport)).write(head);
      },
    ],
    [
      'upgrades without a signature and takes no answer',
      async (stranger) => {
        const head = 'GET /v1/socket HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n';
        const socket = await stranger.stream(transport);
        socket.pause();
        socket.write(head);
      },
    ],
  ];

  test.each(misdeeds)(
    'lets new clients in while a stranger %s 200 times (A2)',
    { timeout: 60_000 },
    async (_, misdeed) => {
      await using rig = new Rig();
      const server = await start(rig);
      using stranger = new Stranger(server);
      for (let at = 0; at < 200; at += 20) {
        await Promise.all(Array.from({ length: 20 }, () => misdeed(stranger)));
      }
      await until(
        async () => (await gauge(server, 'connections')) <= connections.unprovenPerAddress + 1,
        'the end of what was too much',
      );
      expect(await ask(server, '127.0.0.1')).toMatchObject({ status: 200 });
      expect(await ask(server, STRANGER)).toMatchObject({ status: 200 });
      const metrics = (await server.inject({ url: '/metrics' })).body;
      expect(Number(/unproven_connections (\d+)/.exec(metrics)![1])).toBeLessThanOrEqual(
        connections.unprovenPerAddress,
      );
    },
  );

  test('drops who stays idle, slow, or in its handshake within seconds (A2)', { timeout: 60_000 }, async () => {
    await using rig = new Rig();
    const server = await start(rig, { requestTimeoutMs: 1_000 });
    using stranger = new Stranger(server);
    for (const [, misdeed] of misdeeds) await misdeed(stranger);
    const slow = await stranger.stream(transport);
    slow.write('GET /v1/relays HTTP/1.1\r\n');
    let at = 0;
    while (!slow.closed && !slow.destroyed && at++ < 100) {
      slow.write('x: y\r\n');
      await clock.sleep(50);
    }
    await until(async () => (await gauge(server, 'connections')) === 0, 'the end of all connections');
  });

  test('keeps the connections of members when a stranger fills all places (A2)', { timeout: 60_000 }, async () => {
    await using rig = new Rig();
    const server = await start(rig);
    const ws = new WebSocket(`${server.address.replace('http', 'ws')}/v1/socket`, {
      headers: signedHeaders(generateNodeIdentity(random), 'GET', '/v1/socket'),
      ca: CERT,
    });
    await once(ws, 'open');
    using stranger = new Stranger(server);
    for (let at = 0; at < 300; at++) await stranger.tcp();
    await until(
      async () => (await gauge(server, 'connections')) <= connections.unprovenPerAddress + 1,
      'the end of what was too much',
    );
    expect(ws.readyState).toBe(WebSocket.OPEN);
    ws.terminate();
  });
});

describe.each(['tcp', 'tls'] as const)('memory over %s', (transport) => {
  test('that nodes of one address make a server queue is bounded, and other addresses go on (A6)', {
    timeout: 120_000,
  }, async () => {
    await using rig = new Rig();
    const buffers = { perConnectionBytes: 1_000_000, perAddressBytes: 2_000_000, totalBytes: 20_000_000 };
    const many = { perSecond: 1e6, burst: 1e6 };
    const limits = { perAddress: many, perNode: many, creations: many };
    const server = await rig.server({ buffers, limits, ...(transport === 'tls' ? { tls: TLS } : {}) });
    const party = makeParty(400);
    const founder = { ...generateNodeIdentity(random), signing: party.nodes[0]!.signing };
    for (const { sequence, bytes } of party.statements) {
      const url = sequence === 0 ? '/v1/parties' : `/v1/parties/${party.id}/statements`;
      const payload = JSON.stringify({ statement: toBase64(bytes) });
      const headers = { ...signedHeaders(founder, 'POST', url, payload), 'content-type': 'application/json' };
      expect((await server.inject({ method: 'POST', url, payload, headers })).statusCode).toBeLessThan(300);
    }
    const sockets: WebSocket[] = [];
    for (let at = 1; at <= 60; at++) {
      const headers = signedHeaders(
        { ...generateNodeIdentity(random), signing: party.nodes[at]!.signing },
        'GET',
        '/v1/socket',
      );
      const url = `${server.address.replace('http', 'ws')}/v1/socket`;
      const socket = new WebSocket(url, { headers, localAddress: STRANGER, ca: CERT });
      socket.on('error', () => {});
      await once(socket, 'open');
      sockets.push(socket);
      // Asks for everything, again and again, and reads nothing.
      (socket as unknown as { _socket: Socket })._socket.pause();
      for (let again = 0; again < 20; again++) {
        socket.send(JSON.stringify({ type: 'follow', party: party.id, next: 0 }));
        socket.send(JSON.stringify({ type: 'unfollow', party: party.id }));
      }
    }
    await clock.sleep(1_000);
    expect(await gauge(server, 'buffered_bytes')).toBeLessThan(
      buffers.perAddressBytes + 2 * buffers.perConnectionBytes,
    );
    expect(await ask(server, '127.0.0.1')).toMatchObject({ status: 200 });
    for (const socket of sockets) socket.terminate();
  });

  test('of a client does not grow with an answer to its upgrade that never ends (A6)', async () => {
    const server = transport === 'tls' ? createHttpsServer(TLS) : createServer();
    let sent = 0;
    server.on('upgrade', (_, socket) => {
      socket.on('error', () => {});
      socket.write('HTTP/1.1 503 No\r\ncontent-type: text/plain\r\n\r\n');
      const more = () => {
        while (!socket.destroyed && sent < 500_000_000) {
          sent += 65_536;
          if (!socket.write(Buffer.alloc(65_536))) break;
        }
      };
      socket.on('drain', more);
      more();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const opening = openLiveSocket(new URL(`${transport === 'tls' ? 'wss' : 'ws'}://127.0.0.1:${port}/v1/socket`), {
      headers: {},
      ca: CERT,
      clock,
      signal: new AbortController().signal,
      onMessage: () => {},
      onUnreadable() {},
      refusal: (status, body) => new ControlError('server-unavailable', `status ${status}, ${body.length} bytes`),
    });
    await expect(opening).rejects.toMatchObject({ message: 'status 503, 65536 bytes' });
    expect(sent).toBeLessThan(20_000_000);
    server.closeAllConnections();
    server.close();
  });
});

describe('requests', () => {
  test('that are costly use the budget of an address up sooner than cheap ones (A6)', async () => {
    await using rig = new Rig();
    const server = await rig.server({ limits: { perAddress: { perSecond: 1, burst: 40 } } });
    const count = async (path: string) => {
      const node = generateNodeIdentity(random);
      for (let at = 0; ; at++) {
        const { statusCode } = await server.inject({
          url: path,
          headers: signedHeaders(node, 'GET', path),
          remoteAddress: `192.0.2.${path.length}`,
        });
        if (statusCode === 429) return at;
      }
    };
    expect(await count('/v1/relays')).toBe(40);
    expect(await count(`/v1/parties/${'a'.repeat(32)}/statements?from=0`)).toBe(5);
    expect(await count(`/v1/parties/${'a'.repeat(32)}`)).toBe(5);
  });
});
