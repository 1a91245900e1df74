/**
 * Measures the control plane, server and nodes in processes of their own:
 * `node packages/control/test/load/measure.ts connections|signalling|joins|sync [count]`
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SystemRandom } from '@towpath/core';
import type { WebSocket } from 'ws';
import { HttpTransport } from '../../src/client/http-transport.ts';
import { PartyReplica } from '../../src/client/party-replica.ts';
import { toBase64 } from '../../src/encoding/bytes.ts';
import { peerIdOf } from '../../src/identity/keys.ts';
import { authorByMember } from '../../src/membership/author.ts';
import { verifyLog } from '../../src/membership/verify.ts';
import { clock, connect, inParallel, type LoadParty, makeParty, percentile, postStatement } from './swarm.ts';

interface Memory {
  rss: number;
  heapUsed: number;
  external: number;
  sessions: number;
}

const folder = await mkdtemp(join(tmpdir(), 'towpath-load-'));
const servers: ChildProcess[] = [];

async function startServer(...args: string[]): Promise<{ address: string; memory(): Promise<Memory> }> {
  const child = fork(
    join(import.meta.dirname, 'server-process.ts'),
    args.length > 0 ? args : [join(folder, 'control.db')],
  );
  servers.push(child);
  const [{ address }] = await once(child, 'message');
  return {
    address,
    memory: async () => {
      child.send('memory');
      const [memory] = await once(child, 'message');
      return memory;
    },
  };
}

function follow(socket: WebSocket, party: LoadParty): void {
  socket.send(JSON.stringify({ type: 'follow', party: party.id, next: party.statements.length }));
}

async function upload(address: string, parties: readonly LoadParty[]): Promise<void> {
  await inParallel(parties, 16, async (party) => {
    for (const statement of party.statements) {
      const status = await postStatement(address, party.nodes[0]!, party.id, statement);
      if (status !== 201) throw new Error(`statement refused: ${status}`);
    }
  });
}

async function connections(count: number): Promise<void> {
  const server = await startServer();
  const parties = Array.from({ length: Math.ceil(count / 10) }, () => makeParty(10));
  await upload(server.address, parties);
  const before = await server.memory();
  const startedAt = clock.now();
  const nodes = parties.flatMap((party) => party.nodes.map((node) => ({ party, node }))).slice(0, count);
  await inParallel(nodes, 64, async ({ party, node }) => follow(await connect(server.address, node), party));
  const seconds = (clock.now() - startedAt) / 1_000;
  await clock.sleep(3_000);
  const after = await server.memory();
  const per = (key: 'rss' | 'heapUsed' | 'external') =>
    ((after[key] - before[key]) / after.sessions / 1_024).toFixed(1);
  console.log(
    `${after.sessions} nodes connected and following a party, in ${seconds.toFixed(1)} s; each takes ${per('rss')} KB resident, ${per('heapUsed')} KB heap, ${per('external')} KB external`,
  );
}

async function signalling(count: number, perSecond = 1_000, forSeconds = 10): Promise<void> {
  const nats = process.env.TOWPATH_NATS;
  const first = await (nats === undefined
    ? startServer()
    : startServer(`nats:${nats}`, process.env.TOWPATH_NATS_REPLICAS ?? '1'));
  const second =
    nats === undefined ? first : await startServer(`nats:${nats}`, process.env.TOWPATH_NATS_REPLICAS ?? '1');
  const parties = Array.from({ length: Math.ceil(count / 10) }, () => makeParty(10));
  await upload(first.address, parties);
  const took: number[] = [];
  let lost = 0;
  const sockets = new Map<string, WebSocket>();
  const onMessage = (data: { toString(): string }) => {
    const text = data.toString();
    if (text.startsWith('{"type":"undelivered"')) lost++;
    if (!text.startsWith('{"type":"signal"')) return;
    const sentAt = Number(Buffer.from(JSON.parse(text).payload, 'base64url').toString().split(' ')[0]);
    took.push(clock.now() - sentAt);
  };
  const nodes = parties.flatMap((party) => party.nodes.map((node, at) => ({ party, node, at }))).slice(0, count);
  await inParallel(nodes, 64, async ({ party, node, at }) => {
    const socket = await connect(at % 2 === 0 ? first.address : second.address, node);
    socket.on('message', onMessage);
    sockets.set(peerIdOf(node.signing.publicKey), socket);
    follow(socket, party);
  });
  await clock.sleep(3_000);
  const idle = process.cpuUsage();
  const startedAt = clock.now();
  let sent = 0;
  // In small groups, on time whatever happens, as many nodes would.
  while (sent < perSecond * forSeconds) {
    const due = Math.min(perSecond * forSeconds, Math.floor(((clock.now() - startedAt) * perSecond) / 1_000));
    for (; sent < due; sent++) {
      const party = parties[(sent * 7) % parties.length]!;
      const [from, to] = [party.nodes[sent % 10]!, party.nodes[(sent + 1) % 10]!];
      const payload = toBase64(Buffer.from(`${clock.now()} ${'x'.repeat(380)}`));
      const socket = sockets.get(peerIdOf(from.signing.publicKey))!;
      socket.send(
        JSON.stringify({ type: 'signal', id: sent, party: party.id, to: peerIdOf(to.signing.publicKey), payload }),
      );
    }
    await clock.sleep(1);
  }
  await clock.sleep(1_000);
  const { user, system } = process.cpuUsage(idle);
  console.log(
    `${sockets.size} connected, ${perSecond}/s: ${took.length} of ${sent} arrived (${lost} undelivered), p50 ${percentile(took, 0.5).toFixed(2)} ms, p99 ${percentile(took, 0.99).toFixed(2)} ms, worst ${percentile(took, 1).toFixed(1)} ms; the measuring process used ${((user + system) / 1e6).toFixed(1)} s of CPU`,
  );
}

async function joins(count: number): Promise<void> {
  const server = await startServer();
  const parties = Array.from({ length: count / 20 }, () => makeParty(21));
  await inParallel(parties, 16, async (party) => {
    for (const statement of party.statements.slice(0, 2)) {
      await postStatement(server.address, party.nodes[0]!, party.id, statement);
    }
  });
  const startedAt = clock.now();
  const took: number[] = [];
  await inParallel(parties, 16, async (party) => {
    for (const [at, statement] of party.statements.slice(2).entries()) {
      const at0 = clock.now();
      const status = await postStatement(server.address, party.nodes[at + 1]!, party.id, statement);
      if (status !== 201) throw new Error(`join refused: ${status}`);
      took.push(clock.now() - at0);
    }
  });
  const seconds = (clock.now() - startedAt) / 1_000;
  console.log(
    `${took.length} joins over HTTP in ${seconds.toFixed(2)} s: ${(took.length / seconds).toFixed(0)} per second, p50 ${percentile(took, 0.5).toFixed(1)} ms, p99 ${percentile(took, 0.99).toFixed(1)} ms`,
  );
}

async function sync(members: number): Promise<void> {
  const server = await startServer();
  const random = new SystemRandom();
  const party = makeParty(members);
  await upload(server.address, [party]);
  const once = async (label: string) => {
    const times: number[] = [];
    for (let round = 0; round < 5; round++) {
      const transport = new HttpTransport({ clock, random }, { servers: [server.address] });
      const replica = new PartyReplica(party.state.partyKey);
      const startedAt = clock.now();
      for (;;) {
        const page = await transport.readLog(party.id, replica.length, { key: party.nodes[0]!.signing });
        const { doubt } = await replica.offer(replica.length, page.statements);
        if (doubt !== undefined) throw new Error(doubt.message);
        if (replica.length >= page.length) break;
      }
      times.push(clock.now() - startedAt);
      await transport.close();
    }
    console.log(
      `first sync of ${members} members, ${label}: median ${percentile(times, 0.5).toFixed(0)} ms, worst of 5 ${percentile(times, 1).toFixed(0)} ms`,
    );
  };
  await once('no checkpoint, every signature checked');
  const log = party.statements.map((statement) => statement.bytes);
  const startedAt = clock.now();
  verifyLog(party.state.partyKey, log);
  console.log(`verification alone, on one thread: ${(clock.now() - startedAt).toFixed(0)} ms`);
  const founder = party.nodes[0]!;
  const checkpoint = authorByMember(party.state, founder.signing, { type: 'checkpoint' }, clock.wallTime());
  await postStatement(server.address, founder, party.id, checkpoint);
  await once('with the checkpoint that leaders set by themselves');
}

const [what, count] = process.argv.slice(2);
try {
  if (what === 'connections') await connections(Number(count ?? 10_000));
  else if (what === 'signalling') await signalling(Number(count ?? 5_000));
  else if (what === 'joins') await joins(Number(count ?? 2_000));
  else if (what === 'sync') await sync(Number(count ?? 1_000));
  else console.error('connections | signalling | joins | sync');
} finally {
  for (const server of servers) server.kill();
  await rm(folder, { recursive: true });
}
process.exit();
