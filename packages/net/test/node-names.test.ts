import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, SystemClock } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { afterEach, describe, expect, test } from 'vitest';
import { hostsEntries, NodeNames } from '../src/node/node-names.ts';

const A = 1;
const AAAA = 28;
const NXDOMAIN = 3;
const SERVFAIL = 2;
const ADDRESSES: Readonly<Record<number, readonly number[]>> = {
  [A]: [192, 0, 2, 7],
  [AAAA]: [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7],
};

/** What a name server does with a question of a type: silence, an address, no address, an error, or bytes. */
type Behaviour = 'silent' | 'address' | 'empty' | 'not-found' | 'failure' | 'garbage';

const servers: Socket[] = [];
const folder = mkdtempSync(join(tmpdir(), 'towpath-names-'));
const noHosts = join(folder, 'none');

afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** A name server on loopback; returns its address, and counts the questions. */
async function nameServer(behaviour: Partial<Record<number, Behaviour>>): Promise<{ at: string; asked: number[] }> {
  const socket = createSocket('udp4');
  servers.push(socket);
  const asked: number[] = [];
  socket.on('message', (query, from) => {
    const type = query.readUInt16BE(questionEnd(query) - 4);
    asked.push(type);
    const answer = answerTo(query, type, behaviour[type] ?? 'silent');
    if (answer) socket.send(answer, from.port, from.address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return { at: `127.0.0.1:${socket.address().port}`, asked };
}

function questionEnd(query: Buffer): number {
  let at = 12;
  while (query[at] !== 0) at += 1 + query[at]!;
  return at + 5;
}

function answerTo(query: Buffer, type: number, behaviour: Behaviour): Buffer | undefined {
  if (behaviour === 'silent') return undefined;
  if (behaviour === 'garbage') return Buffer.concat([query.subarray(0, 2), Buffer.alloc(40, 0xff)]);
  const question = query.subarray(12, questionEnd(query));
  const data = ADDRESSES[type] ?? [];
  const header = Buffer.alloc(12);
  query.copy(header, 0, 0, 2);
  header.writeUInt16BE(0x8180 | (behaviour === 'not-found' ? NXDOMAIN : behaviour === 'failure' ? SERVFAIL : 0), 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(behaviour === 'address' ? 1 : 0, 6);
  if (behaviour !== 'address') return Buffer.concat([header, question]);
  const record = Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 60, 0, data.length, ...data]);
  return Buffer.concat([header, question, record]);
}

const names = (list: readonly { at: string }[], hostsFile = noHosts, clock: Clock = new SystemClock()) =>
  new NodeNames({ clock }, { hostsFile, servers: list.map(({ at }) => at) });

describe('names', () => {
  test('are asked for in both families, IPv6 first in the answer', async () => {
    const server = await nameServer({ [A]: 'address', [AAAA]: 'address' });
    expect(await names([server]).resolve('peer.example')).toEqual(['2001:db8::7', '192.0.2.7']);
    expect(server.asked.toSorted((a, b) => a - b)).toEqual([A, AAAA]);
    expect(await names([server]).resolve('peer.example', { family: 4 })).toEqual(['192.0.2.7']);
  });

  test('a dead first name server leaves time for the second', async () => {
    const [dead, alive] = [await nameServer({}), await nameServer({ [A]: 'address', [AAAA]: 'empty' })];
    expect(await names([dead, alive]).resolve('peer.example')).toEqual(['192.0.2.7']);
    expect([dead.asked.length > 0, alive.asked.length > 0]).toEqual([true, true]);
  });

  test('a name server that answers one family only does not hold up the other for its whole timeout', async () => {
    const half = await nameServer({ [A]: 'address' });
    const clock = new VirtualClock();
    const resolved = names([half], noHosts, clock).resolve('peer.example');
    // One family is answered, and the delay for the other one runs.
    await expect.poll(() => clock.pendingTimers, { interval: 5 }).toBe(1);
    await clock.advance(50);
    expect(await resolved).toEqual(['192.0.2.7']);
  });

  test.each([
    ['a name that does not exist', 'not-found', 'not-found', 'name-not-found'],
    ['a name without addresses', 'empty', 'empty', 'name-without-address'],
    [
      'a name that the server finds in one family alone, without an address',
      'empty',
      'not-found',
      'name-without-address',
    ],
    ['a server that fails', 'failure', 'failure', 'name-server-failed'],
    ['a server that fails for one family', 'not-found', 'failure', 'name-server-failed'],
  ] as const)('%s', async (_what, v4, v6, code) => {
    const server = await nameServer({ [A]: v4, [AAAA]: v6 });
    await expect(names([server]).resolve('peer.example')).rejects.toMatchObject({ code });
  });

  test('a server that answers with garbage counts as one that fails, not as a name that does not exist', async () => {
    const server = await nameServer({ [A]: 'garbage', [AAAA]: 'garbage' });
    await expect(names([server]).resolve('peer.example')).rejects.toMatchObject({
      code: expect.stringMatching(/^name-server-(silent|failed)$/),
    });
  });

  test('nobody at the address of the name server', async () => {
    const gone = await nameServer({});
    const closed = servers.pop()!;
    closed.close();
    await once(closed, 'close');
    await expect(names([gone]).resolve('peer.example')).rejects.toMatchObject({ code: 'name-server-silent' });
  });

  test('a look-up that is aborted ends at once with the reason of the signal', async () => {
    const abort = new AbortController();
    const outcome = expect(
      names([await nameServer({})]).resolve('peer.example', { signal: abort.signal }),
    ).rejects.toThrow('not now');
    abort.abort(new Error('not now'));
    await outcome;
  });

  test('the hosts file decides before the name servers, which are not asked', async () => {
    const hosts = join(folder, 'hosts');
    writeFileSync(hosts, '# comment\n192.0.2.9 camera.test camera\n2001:db8::9 Camera.Test # the same\nnonsense\n');
    const server = await nameServer({ [A]: 'address', [AAAA]: 'address' });
    expect(await names([server], hosts).resolve('CAMERA.test.')).toEqual(['192.0.2.9', '2001:db8::9']);
    expect(await names([server], hosts).resolve('camera', { family: 4 })).toEqual(['192.0.2.9']);
    expect(server.asked).toEqual([]);
    expect(hostsEntries('', 'localhost')).toEqual(['127.0.0.1', '::1']);
    rmSync(hosts);
  });
});
