import { generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { WebSocket as Socket } from 'ws';
import type { BareWebSocketsReady, BareWebSocketsUsage } from '../workers/bare-web-sockets.ts';
import { percentile } from './bench.ts';
import { HERE } from './loopback.ts';
import { sleep } from './relay-load.ts';
import { Worker } from './worker.ts';
import { WebSocket } from './ws.ts';

/** Opened at the same time, as the nodes that are measured do. */
const AT_ONCE = 64;
/** About the length of a signal with its envelope. */
const MESSAGE_BYTES = 700;
/** About the length of a join statement. */
const STATEMENT_BYTES = 300;
/** Statements that share a flush to disk: the number of joins in flight. */
const SHARED_FLUSH = 16;

/** Cost of a connection at a server that consists of `ws` alone. */
export async function bareConnections(
  count: number,
  settleMs: number,
): Promise<{ perSecond: number; residentKb: number; heapKb: number }> {
  const { worker, first } = await startServer();
  await using server = worker;
  const before = await server.ask<BareWebSocketsUsage>({});
  const startedAt = performance.now();
  const sockets = await connectAll(first.port, count);
  const seconds = (performance.now() - startedAt) / 1_000;
  await sleep(settleMs);
  const after = await server.ask<BareWebSocketsUsage>({});
  for (const socket of sockets) socket.terminate();
  const each = (key: 'rss' | 'heap') => (after[key] - before[key]) / after.connections / 1_024;
  return { perSecond: count / seconds, residentKb: each('rss'), heapKb: each('heap') };
}

/** Round-trip time of messages at such a server, with `count` connections that all send. */
export async function bareEcho(
  count: number,
  perSecond: number,
  forSeconds: number,
  settleMs: number,
): Promise<{ p50Ms: number; p99Ms: number }> {
  const { worker, first } = await startServer();
  await using _server = worker;
  const sockets = await connectAll(first.port, count);
  const took: number[] = [];
  for (const socket of sockets) {
    socket.on('message', (data: Buffer) => took.push(performance.now() - data.readDoubleLE(0)));
  }
  await sleep(settleMs);
  const startedAt = performance.now();
  for (let sent = 0; sent < perSecond * forSeconds; ) {
    const due = Math.min(perSecond * forSeconds, Math.floor(((performance.now() - startedAt) * perSecond) / 1_000));
    for (; sent < due; sent++) {
      const message = Buffer.alloc(MESSAGE_BYTES);
      message.writeDoubleLE(performance.now(), 0);
      sockets[(sent * 7) % count]?.send(message);
    }
    await sleep(1);
  }
  await sleep(settleMs);
  for (const socket of sockets) socket.terminate();
  return { p50Ms: percentile(took, 0.5), p99Ms: percentile(took, 0.99) };
}

/** Inserts per second into a table with the same key, the same durability and as many per flush. */
export function bareInserts(count: number): number {
  const folder = mkdtempSync(join(tmpdir(), 'towpath-inserts-'));
  try {
    using database = new DatabaseSync(join(folder, 'bare.db'));
    database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
      CREATE TABLE statements (party TEXT NOT NULL, sequence INTEGER NOT NULL, statement BLOB NOT NULL,
        PRIMARY KEY (party, sequence)) STRICT, WITHOUT ROWID`);
    const insert = database.prepare('INSERT INTO statements VALUES (?, ?, ?)');
    const statement = randomBytes(STATEMENT_BYTES);
    const startedAt = performance.now();
    for (let done = 0; done < count; ) {
      database.exec('BEGIN IMMEDIATE');
      for (let n = 0; n < SHARED_FLUSH && done < count; n++) insert.run(`party ${n}`, done++, statement);
      database.exec('COMMIT');
    }
    return (1_000 * count) / (performance.now() - startedAt);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Time in which so many signatures are verified one after the other, ms; median of five. */
export function bareVerification(signatures: number): number {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const message = randomBytes(STATEMENT_BYTES);
  const signature = sign(null, message, privateKey);
  const times = Array.from({ length: 5 }, () => {
    const startedAt = performance.now();
    for (let n = 0; n < signatures; n++) {
      if (!verify(null, message, publicKey, signature)) throw new Error('A good signature was refused.');
    }
    return performance.now() - startedAt;
  });
  return percentile(times, 0.5);
}

function startServer(): Promise<{ worker: Worker; first: BareWebSocketsReady }> {
  return Worker.start<BareWebSocketsReady>('bare-web-sockets', {}, ['--expose-gc']);
}

async function connectAll(port: number, count: number): Promise<Socket[]> {
  const sockets: Socket[] = [];
  const kind = async () => {
    while (sockets.length < count) {
      const socket = new WebSocket(`ws://${HERE}:${port}`, { perMessageDeflate: false });
      sockets.push(socket);
      await once(socket, 'open');
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, kind));
  return sockets;
}
