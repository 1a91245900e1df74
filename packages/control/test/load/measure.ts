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
import {
  authorByMember,
  peerIdOf,
  type SignatureVerifier,
  toBase64,
  verifyLog,
  verifySignatureInPool,
} from '@towpath/membership';
import { clock, connect, inParallel, type LoadParty, makeParty, percentile, postStatement } from './swarm.ts';

/** How long everything gets to come to rest. */
const SETTLE_MS = 3_000;
/** What has not happened after this time is lost. */
const LOST_AFTER_MS = 30_000;

interface Memory {
  rss: number;
  heapUsed: number;
  external: number;
  sessions: number;
}

/** Server processes of one measurement; they and their database end with it. */
class Servers implements AsyncDisposable {
  readonly #folder: string;
  readonly #running: ChildProcess[] = [];

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async create(): Promise<Servers> {
    return new Servers(await mkdtemp(join(tmpdir(), 'towpath-load-')));
  }

  async start(...args: string[]): Promise<RunningServer> {
    const script = join(import.meta.dirname, 'server-process.ts');
    const child = fork(script, args.length > 0 ? args : [join(this.#folder, 'control.db')], { execArgv: [] });
    this.#running.push(child);
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

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#running) {
      child.kill();
      await once(child, 'exit');
    }
    await rm(this.#folder, { recursive: true });
  }
}

interface RunningServer {
  readonly address: string;
  memory(): Promise<Memory>;
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

/** Connects `count` nodes, each following a party of ten. */
export async function connections(
  count: number,
  settleMs: number,
): Promise<{ nodes: number; seconds: number; residentKb: number; heapKb: number }> {
  await using servers = await Servers.create();
  const server = await servers.start();
  const parties = Array.from({ length: Math.ceil(count / 10) }, () => makeParty(10));
  await upload(server.address, parties);
  const before = await server.memory();
  const startedAt = clock.now();
  const nodes = parties.flatMap((party) => party.nodes.map((node) => ({ party, node }))).slice(0, count);
  const sockets: WebSocket[] = [];
  await inParallel(nodes, 64, async ({ party, node }) => {
    const socket = await connect(server.address, node);
    sockets.push(socket);
    follow(socket, party);
  });
  const seconds = (clock.now() - startedAt) / 1_000;
  await clock.sleep(settleMs);
  const after = await server.memory();
  const per = (key: 'rss' | 'heapUsed') => (after[key] - before[key]) / after.sessions / 1_024;
  for (const socket of sockets) socket.terminate();
  return { nodes: after.sessions, seconds, residentKb: per('rss'), heapKb: per('heapUsed') };
}

/** Signals between `count` connected nodes; on two servers when TOWPATH_NATS names a NATS server. */
export async function signalling(
  count: number,
  perSecond: number,
  forSeconds: number,
  settleMs: number,
): Promise<{ connected: number; sent: number; arrived: number; p50Ms: number; p99Ms: number; worstMs: number }> {
  await using servers = await Servers.create();
  const nats = process.env.TOWPATH_NATS;
  const where = nats === undefined ? [] : [`nats:${nats}`, process.env.TOWPATH_NATS_REPLICAS ?? '1'];
  const first = await servers.start(...where);
  const second = nats === undefined ? first : await servers.start(...where);
  const parties = Array.from({ length: Math.ceil(count / 10) }, () => makeParty(10));
  await upload(first.address, parties);
  const took: number[] = [];
  const sockets = new Map<string, WebSocket>();
  const following = new Set<WebSocket>();
  const onMessage = function (this: WebSocket, data: { toString(): string }) {
    const text = data.toString();
    if (text.startsWith('{"type":"presence"')) following.add(this);
    if (!text.startsWith('{"type":"signal"')) return;
    const { ack, payload } = JSON.parse(text);
    this.send(JSON.stringify({ type: 'received', ack, taken: true }));
    const sentAt = Number(Buffer.from(payload, 'base64url').toString().split(' ')[0]);
    took.push(clock.now() - sentAt);
  };
  const nodes = parties.flatMap((party) => party.nodes.map((node, at) => ({ party, node, at }))).slice(0, count);
  await inParallel(nodes, 64, async ({ party, node, at }) => {
    const socket = await connect(at % 2 === 0 ? first.address : second.address, node);
    socket.on('message', onMessage);
    sockets.set(peerIdOf(node.signing.publicKey), socket);
    follow(socket, party);
  });
  await happens(() => following.size === sockets.size);
  await clock.sleep(settleMs);
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
  await happens(() => took.length >= sent);
  for (const socket of sockets.values()) socket.terminate();
  return {
    connected: sockets.size,
    sent,
    arrived: took.length,
    p50Ms: percentile(took, 0.5),
    p99Ms: percentile(took, 0.99),
    worstMs: percentile(took, 1),
  };
}

/** Waits until `check` is true, {@link LOST_AFTER_MS} at the most. */
async function happens(check: () => boolean): Promise<void> {
  const startedAt = clock.now();
  while (!check() && clock.now() - startedAt < LOST_AFTER_MS) await clock.sleep(2);
}

/** Joins over HTTP, twenty into each party. */
export async function joins(
  count: number,
): Promise<{ joins: number; perSecond: number; p50Ms: number; p99Ms: number }> {
  await using servers = await Servers.create();
  const server = await servers.start();
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
  return {
    joins: took.length,
    perSecond: took.length / seconds,
    p50Ms: percentile(took, 0.5),
    p99Ms: percentile(took, 0.99),
  };
}

/** The first sync of a new member over HTTP, verification included; median of five. */
export async function sync(members: number): Promise<{
  uncheckedMs: number;
  oneThreadMs: number;
  checkpointMs: number;
  /** Verified in one sync. */
  signatures: { unchecked: number; checkpoint: number };
}> {
  await using servers = await Servers.create();
  const server = await servers.start();
  const random = new SystemRandom();
  const party = makeParty(members);
  await upload(server.address, [party]);
  let signatures = 0;
  const verify: SignatureVerifier = (...signed) => {
    signatures++;
    return verifySignatureInPool(...signed);
  };
  const median = async () => {
    const times: number[] = [];
    for (let round = 0; round < 5; round++) {
      signatures = 0;
      const transport = new HttpTransport({ clock, random }, { servers: [server.address] });
      const replica = new PartyReplica({ clock, verify }, { partyKey: party.state.partyKey });
      const startedAt = clock.now();
      for (;;) {
        const page = await transport.readLog(party.id, replica.length, { key: party.nodes[0]!.signing });
        const { failure } = await replica.offer(replica.length, page.statements);
        if (failure !== undefined) throw new Error(failure.message);
        if (replica.length >= page.length) break;
      }
      times.push(clock.now() - startedAt);
      await transport.close();
    }
    return percentile(times, 0.5);
  };
  const uncheckedMs = await median();
  const unchecked = signatures;
  const log = party.statements.map((statement) => statement.bytes);
  const startedAt = clock.now();
  verifyLog(party.state.partyKey, log);
  const oneThreadMs = clock.now() - startedAt;
  const founder = party.nodes[0]!;
  const checkpoint = authorByMember(party.state, founder.signing, { type: 'checkpoint' }, clock.wallTime());
  await postStatement(server.address, founder, party.id, checkpoint);
  const checkpointMs = await median();
  return { uncheckedMs, oneThreadMs, checkpointMs, signatures: { unchecked, checkpoint: signatures } };
}

if (import.meta.main) {
  const [what, count] = process.argv.slice(2);
  const measurements: Record<string, () => Promise<object>> = {
    connections: () => connections(Number(count ?? 10_000), SETTLE_MS),
    signalling: () => signalling(Number(count ?? 5_000), 1_000, 10, SETTLE_MS),
    joins: () => joins(Number(count ?? 2_000)),
    sync: () => sync(Number(count ?? 1_000)),
  };
  const measure = measurements[what ?? ''];
  if (measure === undefined) console.error(Object.keys(measurements).join(' | '));
  else console.log(await measure());
}
