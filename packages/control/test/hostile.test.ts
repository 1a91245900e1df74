import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { connect, type Socket } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { SeededRandom } from '@towpath/core';
import { describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { authorGenesis, generateSigningKey, toBase64 } from '@towpath/membership';
import type { ControlServer } from '../src/http/control-server.ts';
import { addressKey } from '../src/http/request-guard.ts';
import { generateNodeIdentity, type NodeIdentity } from '../src/identity/node-identity.ts';
import { clock, Rig, random, signedHeaders, until } from './http-fixture.ts';

/** Hostile requests of the flood; a long run sets more. */
const FLOOD = Number(process.env.TOWPATH_HOSTILE_REQUESTS ?? 3_000);
const JSON_TYPE = { 'content-type': 'application/json' };
const FREELY = { perSecond: 1e6, burst: 1e6 };
const UNLIMITED = { perAddress: FREELY, perNode: FREELY, creations: FREELY };

function genesisOf(node: NodeIdentity): string {
  const statement = authorGenesis({
    partyKey: generateSigningKey(random),
    partyName: 'camp',
    founder: { signing: node.signing, wireGuardPublicKey: node.wireGuard.publicKey },
    founderName: 'Fay',
    timeMs: clock.wallTime(),
  });
  return JSON.stringify({ statement: toBase64(statement.bytes) });
}

/** Posts `body` to `/v1/parties`, signed over `signedBody`. */
function post(server: ControlServer, node: NodeIdentity, body: string, headers: Record<string, string> = {}) {
  const path = '/v1/parties';
  return server.inject({
    method: 'POST',
    url: path,
    payload: body,
    headers: { ...JSON_TYPE, ...signedHeaders(node, 'POST', path, body), ...headers },
  });
}

/** What is really in use, after a collection. */
function heapBytes(): number {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
  return process.memoryUsage().heapUsed;
}

interface OpenApi {
  paths: Record<string, Record<string, { security?: unknown[] }>>;
}

describe('the API', () => {
  test('is documented in the committed openapi.json', async () => {
    await using rig = new Rig();
    const server = await rig.server();
    await expect(`${JSON.stringify(server.openapi(), null, 2)}\n`).toMatchFileSnapshot('../openapi.json');
  });

  test('has no write, and no read about parties, that works without a signature (C12)', async () => {
    await using rig = new Rig();
    const server = await rig.server({ limits: UNLIMITED });
    const document = (await server.inject('/openapi.json')).json<OpenApi>();
    const open: string[] = [];
    let signedOperations = 0;
    for (const [path, operations] of Object.entries(document.paths)) {
      for (const [method, operation] of Object.entries(operations)) {
        const url = path.replace('{party}', 'a'.repeat(32)).replace('{lookup}', 'b'.repeat(32)).replace('{id}', 'x');
        const call = (headers: Record<string, string>) =>
          server.inject({ method: method as 'POST', url, headers: { ...JSON_TYPE, ...headers }, payload: '{}' });
        if (operation.security === undefined) {
          open.push(`${method} ${path}`);
          continue;
        }
        signedOperations++;
        expect(operation.security).toEqual([{ nodeSignature: [] }]);
        const unsigned = await call({});
        expect([path, unsigned.statusCode, unsigned.json().code]).toEqual([path, 401, 'unauthorized']);
        const other = signedHeaders(generateNodeIdentity(random), 'POST', '/somewhere/else');
        expect((await call(other)).json().code).toBe('unauthorized');
      }
    }
    expect(open).toEqual(['get /health', 'get /ready', 'get /metrics', 'get /openapi.json']);
    expect(signedOperations).toBe(11);
  });

  test('answers health, readiness and metrics', async () => {
    await using rig = new Rig();
    const server = await rig.server();
    const client = await rig.client([server.address]);
    await client.createParty({ name: 'camp', memberName: 'Ann' });
    await client.ready();
    expect((await server.inject('/health')).json()).toEqual({ status: 'ok' });
    expect((await server.inject('/ready')).json()).toEqual({ status: 'ready' });
    const metrics = (await server.inject('/metrics')).body;
    expect(metrics).toContain('towpath_control_connected_nodes 1');
    expect(metrics).toContain('towpath_control_statements_total 1');
    expect(metrics).toContain('towpath_control_requests_total{route="POST /v1/parties",status="201"} 1');
    const abroad = await server.inject({ url: '/metrics', remoteAddress: '192.0.2.1' });
    expect(abroad.statusCode).toBe(403);
  });
});

describe('hostile requests', () => {
  test('are refused with a clear answer: altered, replayed, undated, foreign, malformed, too large (C12)', async () => {
    await using rig = new Rig();
    const server = await rig.server({ limits: UNLIMITED });
    const node = generateNodeIdentity(random);
    const body = genesisOf(node);
    const path = '/v1/parties';
    const outcome = async (answer: ReturnType<typeof post>) => {
      const { statusCode, json } = await answer;
      return [statusCode, json().code];
    };
    const altered = signedHeaders(node, 'POST', path, genesisOf(node));
    expect(await outcome(post(server, node, body, altered))).toEqual([401, 'unauthorized']);
    expect(await outcome(post(server, node, body, { origin: 'https://example.org' }))).toEqual([403, 'forbidden']);
    expect(await outcome(post(server, node, body, { 'towpath-nonce': 'x' }))).toEqual([401, 'unauthorized']);
    expect(await outcome(post(server, node, body, { 'towpath-time': '1e9' }))).toEqual([401, 'unauthorized']);
    expect(await outcome(post(server, node, '{"statement":'))).toEqual([400, 'invalid-request']);
    expect(await outcome(post(server, node, '[]'))).toEqual([400, 'invalid-request']);
    expect(await outcome(post(server, node, '{"statement":"%%"}'))).toEqual([400, 'invalid-request']);
    expect(await outcome(post(server, node, '{"statement":"AAAA"}'))).toEqual([422, 'invalid-statement']);
    expect(await outcome(post(server, node, `{"statement":"${'A'.repeat(20_000)}"}`))).toEqual([413, 'limit-exceeded']);
    expect(await outcome(post(server, node, body, { 'content-type': 'text/xml' }))).toEqual([415, 'invalid-request']);
    const late = signedHeaders(node, 'POST', path, body, clock.wallTime() - 200_000);
    const skewed = await post(server, node, body, late);
    expect(skewed.json()).toMatchObject({
      code: 'clock-skew',
      message: expect.stringContaining('200 s behind'),
      details: { serverTimeMs: expect.any(Number) },
    });
    const headers = signedHeaders(node, 'POST', path, body);
    expect((await post(server, node, body, headers)).statusCode).toBe(201);
    expect(await outcome(post(server, node, body, headers))).toEqual([401, 'replayed']);
    expect(await outcome(post(server, generateNodeIdentity(random), body))).toEqual([409, 'conflict']);
    // The party exists, but who is in it is nobody's business.
    const prying = await post(server, generateNodeIdentity(random), body);
    expect(prying.json()).toMatchObject({ head: null, statements: [] });
    const own = await post(server, node, body);
    expect(own.json()).toMatchObject({ head: { sequence: 0 }, statements: [JSON.parse(body).statement] });
    const stranger = signedHeaders(node, 'GET', `${path}/${'c'.repeat(32)}/statements?from=0`);
    const read = await server.inject({ url: `${path}/${'c'.repeat(32)}/statements?from=0`, headers: stranger });
    expect(read.statusCode).toBe(404);
    const again = await server.inject({ url: `${path}/${'c'.repeat(32)}/statements?from=0`, headers: stranger });
    expect(again.json().code).toBe('replayed');
  });

  test('are limited per address and per node, with a time to wait (C12)', async () => {
    await using rig = new Rig();
    const slow = { perSecond: 0.1, burst: 5 };
    const byNode = await rig.server({ limits: { perAddress: FREELY, perNode: slow } });
    const node = generateNodeIdentity(random);
    const codes: number[] = [];
    for (let at = 0; at < 7; at++) codes.push((await post(byNode, node, genesisOf(node))).statusCode);
    expect(codes).toEqual([201, 201, 201, 201, 201, 429, 429]);
    const other = await post(byNode, generateNodeIdentity(random), genesisOf(node));
    expect(other.statusCode).not.toBe(429);
    const byAddress = await rig.server({ limits: { perAddress: slow, perNode: FREELY } });
    for (let at = 0; at < 5; at++) await byAddress.inject('/health');
    const limited = await byAddress.inject('/health');
    expect([limited.statusCode, limited.headers['retry-after']]).toEqual([429, '10']);
    expect((await byAddress.inject({ url: '/health', remoteAddress: '192.0.2.9' })).statusCode).toBe(200);
    const creations: number[] = [];
    const few = await rig.server({ limits: { ...UNLIMITED, creations: slow } });
    for (let at = 0; at < 6; at++) creations.push((await post(few, node, genesisOf(node))).statusCode);
    expect(creations).toEqual([201, 201, 201, 201, 201, 429]);
    expect(addressKey('2001:db8::1')).toBe(addressKey('2001:db8:0:0:ffff::9'));
    expect(addressKey('2001:db8::1')).not.toBe(addressKey('2001:db8:0:1::1'));
    expect(addressKey('::1')).toBe('0:0:0:0');
    expect(addressKey('::ffff:192.0.2.1')).not.toBe(addressKey('::ffff:192.0.2.2'));
  });

  test('that never end are cut off, and hold nobody up (C12)', async () => {
    await using rig = new Rig();
    const begin = ({ address }: ControlServer, at: number) => {
      const socket = connect(Number(new URL(address).port), '127.0.0.1');
      socket.on('error', () => socket.destroy());
      socket.resume();
      socket.write(
        at % 2 === 0
          ? 'POST /v1/parties HTTP/1.1\r\nhost: x\r\n'
          : 'POST /v1/parties HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{',
      );
      return socket;
    };
    const requests = (server: ControlServer) => Array.from({ length: 50 }, (_, at) => begin(server, at));
    const isOver = (socket: Socket) => socket.readableEnded || socket.destroyed;
    const patient = await rig.server({ requestTimeoutMs: 600_000 });
    const open = requests(patient);
    const client = await rig.client([patient.address]);
    await client.createParty({ name: 'camp', memberName: 'Ann' });
    expect(open.filter(isOver)).toEqual([]);
    const cutOff = requests(await rig.server({ requestTimeoutMs: 300 }));
    await until(() => cutOff.every(isOver), 'the end of the slow requests');
    for (const socket of [...open, ...cutOff]) socket.destroy();
  });

  test('in a flood of all kinds leave memory bounded and other nodes served (C12)', { timeout: 600_000 }, async () => {
    await using rig = new Rig();
    const server = await rig.server({ limits: UNLIMITED });
    const [ann, bob] = await Promise.all([rig.client([server.address]), rig.client([server.address])]);
    const { id } = await ann.createParty({ name: 'camp', memberName: 'Ann' });
    await bob.join(await ann.invite(id), { memberName: 'Bob' });
    await until(() => ann.party(id)!.peers[0]?.online === true, 'Bob online');
    const seeded = new SeededRandom(1);
    const node = generateNodeIdentity(random);
    const body = genesisOf(node);
    const used = signedHeaders(node, 'POST', '/v1/parties', body);
    await post(server, node, body, used);
    const statuses = new Map<number, number>();
    const hostile = async () => {
      const kind = seeded.integer(0, 5);
      const noise = toBase64(seeded.bytes(seeded.integer(0, 600)));
      const answer = await (kind === 0
        ? server.inject({ method: 'POST', url: '/v1/parties', payload: noise, headers: JSON_TYPE })
        : kind === 1
          ? post(server, node, body, used)
          : kind === 2
            ? post(server, node, JSON.stringify({ statement: noise }))
            : kind === 3
              ? post(server, node, `{"statement":"${'A'.repeat(30_000)}"}`)
              : kind === 4
                ? post(server, node, noise, { 'towpath-signature': noise.slice(0, 86) })
                : server.inject({ url: `/${noise.slice(0, 80)}`, headers: { 'towpath-key': noise.slice(0, 43) } }));
      statuses.set(answer.statusCode, (statuses.get(answer.statusCode) ?? 0) + 1);
    };
    for (let at = 0; at < 300; at++) await hostile();
    const before = heapBytes();
    for (let at = 300; at < FLOOD; at++) await hostile();
    const grownBytes = heapBytes() - before;
    expect([...statuses.keys()].every((status) => status >= 400 && status < 500)).toBe(true);
    // What a signed request leaves behind is a nonce for two minutes; nothing else stays.
    expect(grownBytes).toBeLessThan(1_000_000 + FLOOD * 200);
    await ann.signal(id, bob.party(id)!.self.id, new Uint8Array([1]));
    await bob.leave(id);
  });
});

describe('hostile WebSockets', () => {
  const open = (server: ControlServer, headers: Record<string, string>, path = '/v1/socket') =>
    new WebSocket(`${server.address.replace('http', 'ws')}${path}`, { headers });
  const refusal = (socket: WebSocket) =>
    new Promise<[number, string]>((resolve, reject) => {
      socket.on('error', () => {});
      socket.on('open', () => reject(new Error('it was let in')));
      socket.on('unexpected-response', (_, answer) => {
        let text = '';
        answer.on('data', (part) => {
          text += part;
        });
        answer.on('end', () => resolve([answer.statusCode ?? 0, JSON.parse(text).code]));
      });
    });
  const closeCode = (socket: WebSocket) =>
    new Promise<number>((resolve) => {
      socket.on('error', () => {});
      socket.on('close', (code) => resolve(code));
    });

  test('are not let in unsigned, replayed, from web pages, or elsewhere (C12)', async () => {
    await using rig = new Rig();
    const server = await rig.server();
    const node = generateNodeIdentity(random);
    expect(await refusal(open(server, {}))).toEqual([401, 'unauthorized']);
    const elsewhere = signedHeaders(node, 'GET', '/v1/relays');
    expect(await refusal(open(server, elsewhere))).toEqual([401, 'unauthorized']);
    const fromPage = { ...signedHeaders(node, 'GET', '/v1/socket'), origin: 'https://example.org' };
    expect(await refusal(open(server, fromPage))).toEqual([403, 'forbidden']);
    expect(await refusal(open(server, signedHeaders(node, 'GET', '/x'), '/x'))).toEqual([404, 'invalid-request']);
    const old = signedHeaders(node, 'GET', '/v1/socket', '', clock.wallTime() - 100_000);
    expect(await refusal(open(server, old))).toEqual([401, 'clock-skew']);
    const once = signedHeaders(node, 'GET', '/v1/socket');
    const first = open(server, once);
    await new Promise((resolve) => first.on('open', resolve));
    expect(await refusal(open(server, once))).toEqual([401, 'replayed']);
    first.terminate();
  });

  test('are closed with a code of their own for what they send, and others go on (C12)', async () => {
    await using rig = new Rig();
    const server = await rig.server({ limits: UNLIMITED, messageLimit: { perSecond: 10, burst: 20 } });
    const connect = async () => {
      const socket = open(server, signedHeaders(generateNodeIdentity(random), 'GET', '/v1/socket'));
      await new Promise((resolve) => socket.on('open', resolve));
      return socket;
    };
    const good = await connect();
    const send = async (data: string | Uint8Array) => {
      const socket = await connect();
      const code = closeCode(socket);
      socket.send(data);
      return code;
    };
    expect(await send('{')).toBe(1007);
    expect(await send('{"type":"follow","party":"../../etc"}')).toBe(1007);
    expect(await send('null')).toBe(1007);
    expect(await send(new Uint8Array([1, 2, 3]))).toBe(1003);
    expect(await send('x'.repeat(20_000))).toBe(1009);
    const flooding = await connect();
    const code = closeCode(flooding);
    const party = 'd'.repeat(32);
    for (let at = 0; at < 50; at++) flooding.send(JSON.stringify({ type: 'unfollow', party }));
    expect(await code).toBe(1008);
    for (const flood of [(socket: WebSocket) => socket.ping(), (socket: WebSocket) => socket.pong()]) {
      const pinging = await connect();
      const ended = closeCode(pinging);
      for (let at = 0; at < 500; at++) flood(pinging);
      // The rest of the flood may break the connection before the close frame is read.
      expect([1006, 1008]).toContain(await ended);
    }
    expect((await server.inject('/metrics')).body).toMatch(/refused_total\{reason="too-many-pings"\} 2/);
    const answers: string[] = [];
    good.on('message', (data) => answers.push(JSON.parse(data.toString()).type));
    good.send(JSON.stringify({ type: 'follow', party, next: 0 }));
    good.send(JSON.stringify({ type: 'signal', id: 1, party, to: party, payload: 'AAAA' }));
    await until(() => answers.includes('refused') && answers.includes('undelivered'), 'answers to a good node');
    good.terminate();
  });

  test('that ping too often are closed with their code also while the pongs cannot be sent (C12)', async () => {
    await using rig = new Rig();
    const server = await rig.server({ limits: UNLIMITED });
    const accepted: Socket[] = [];
    const onAccepted = (message: unknown) => accepted.push((message as { socket: Socket }).socket);
    subscribe('net.server.socket', onAccepted);
    const pinging = open(server, signedHeaders(generateNodeIdentity(random), 'GET', '/v1/socket'));
    await new Promise((resolve) => pinging.on('open', resolve));
    unsubscribe('net.server.socket', onAccepted);
    expect(accepted).toHaveLength(1);
    const ended = closeCode(pinging);
    accepted[0]!.cork();
    for (let at = 0; at < 65; at++) pinging.ping();
    const refused = async () => (await server.inject('/metrics')).body;
    await expect.poll(refused).toMatch(/refused_total\{reason="too-many-pings"\} 1/);
    accepted[0]!.uncork();
    expect(await ended).toBe(1008);
  });

  test('from one address share its limit, in which a follow counts as eight messages (C12)', async () => {
    await using rig = new Rig();
    const forAddress = { perSecond: 1e-9, burst: 40 };
    const server = await rig.server({ limits: UNLIMITED, messageLimitPerAddress: forAddress });
    const connect = async () => {
      const socket = open(server, signedHeaders(generateNodeIdentity(random), 'GET', '/v1/socket'));
      await new Promise((resolve) => socket.on('open', resolve));
      const answers: string[] = [];
      socket.on('message', (data) => {
        const { type, reason } = JSON.parse(data.toString());
        answers.push(reason === 'limit-exceeded' ? 'limited' : type);
      });
      return { socket, answers };
    };
    const party = 'd'.repeat(32);
    const one = await connect();
    for (let at = 0; at < 4; at++) one.socket.send(JSON.stringify({ type: 'follow', party, next: 0 }));
    await until(() => one.answers.filter((type) => type === 'refused').length === 4, 'four answers');
    // 8 of 40 are left for whoever comes from there.
    const other = await connect();
    const signal = (id: number) => JSON.stringify({ type: 'signal', id, party, to: party, payload: 'AAAA' });
    for (let id = 1; id <= 8; id++) other.socket.send(signal(id));
    await until(() => other.answers.filter((type) => type === 'undelivered').length === 8, 'eight answers');
    const code = closeCode(one.socket);
    one.socket.send(JSON.stringify({ type: 'unfollow', party }));
    expect(await code).toBe(1008);
    other.socket.terminate();
  });

  test('of one node replace each other, and a party too many is refused', async () => {
    await using rig = new Rig();
    const server = await rig.server();
    const node = generateNodeIdentity(random);
    const connect = async () => {
      const socket = open(server, signedHeaders(node, 'GET', '/v1/socket'));
      await new Promise((resolve) => socket.on('open', resolve));
      return socket;
    };
    const first = await connect();
    const code = closeCode(first);
    const second = await connect();
    expect(await code).toBe(4001);
    expect(server.service.counts.sessions).toBe(1);
    second.terminate();
    await until(() => server.service.counts.sessions === 0, 'the end of the session');
  });
});
