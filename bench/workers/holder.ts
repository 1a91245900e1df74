/** Holds many cameras, or as many bare sockets that answer keep-alives, and reports the cost. Needs --expose-gc. */
import { createSocket, type Socket } from 'node:dgram';
import { CameraPool, DEFAULT_UID } from '@towpath/camera';
import { encodeMessage, MessageType } from '@towpath/pppp/codec';
import { clientAt, HERE, realComponents } from '../support/loopback.ts';
import { parentLeft, tell, workerTask } from '../support/worker.ts';

export interface HolderTask {
  kind: 'cameras' | 'sockets';
  ports: number[];
  /** Time to settle before memory or processor time is measured: new sessions are busier. */
  settleMs: number;
  holdMs: number;
}

export interface HolderReport {
  /** Held at the end of the time, none of them lost in between. */
  held: number;
  /** Heartbeats that left while the time was measured. */
  heartbeats: number;
  /** Share of one core. */
  cpuShare: number;
  rssBytesEach: number;
  heapBytesEach: number;
}

interface Holding {
  add(port: number): Promise<void>;
  held(): number;
  heartbeats(): number;
  close(): Promise<void>;
}

/** Opened at a time; a thousand at a time would measure the queue of the machine. */
const AT_ONCE = 50;
/** Memory is counted from here on: the code is compiled, and what is allocated once exists. */
const FIRST = 300;

const { kind, ports, settleMs, holdMs } = workerTask<HolderTask>();
const holding = kind === 'cameras' ? holdCameras() : holdSockets();
await addAll(ports.slice(0, FIRST));
await sleep(settleMs);
const before = memory();
await addAll(ports.slice(FIRST));
await sleep(settleMs);
const after = memory();
const beats = holding.heartbeats();
const cpu = process.cpuUsage();
const startedAt = performance.now();
await sleep(holdMs);
const { user, system } = process.cpuUsage(cpu);
const report: HolderReport = {
  held: holding.held(),
  heartbeats: holding.heartbeats() - beats,
  cpuShare: (user + system) / 1_000 / (performance.now() - startedAt),
  rssBytesEach: (after.rss - before.rss) / (ports.length - FIRST),
  heapBytesEach: (after.heap - before.heap) / (ports.length - FIRST),
};
tell(report);
await parentLeft();
await holding.close();

async function addAll(some: readonly number[]): Promise<void> {
  for (let at = 0; at < some.length; at += AT_ONCE) {
    await Promise.all(some.slice(at, at + AT_ONCE).map((port) => holding.add(port)));
  }
}

function holdCameras(): Holding {
  const components = realComponents();
  let lost = 0;
  let heartbeats = 0;
  const pool = new CameraPool({
    clock: components.clock,
    create: (port) => {
      const client = clientAt(Number(port), components);
      client.events.on('lost', () => lost++);
      client.events.on('heartbeat', () => heartbeats++);
      return client;
    },
  });
  return {
    add: async (port) => {
      await pool.connect(String(port));
    },
    held: () => pool.size - lost,
    heartbeats: () => heartbeats,
    close: () => pool.close(),
  };
}

/** The least work that keeps a session alive: one socket each, and an answer to ALIVE. */
function holdSockets(): Holding {
  const punch = encodeMessage({ type: 'PUNCH_PKT', uid: DEFAULT_UID });
  const alive = encodeMessage({ type: 'ALIVE' });
  const answer = encodeMessage({ type: 'ALIVE_ACK' });
  const goodbye = encodeMessage({ type: 'CLOSE' });
  const sockets: { socket: Socket; port: number; answeredAt: number }[] = [];
  const add = (port: number) =>
    new Promise<void>((resolve) => {
      const socket = createSocket({ type: 'udp4', lookup: (address, _options, done) => done(null, address, 4) });
      const one = { socket, port, answeredAt: 0 };
      sockets.push(one);
      socket.on('message', (data) => {
        const type = data[1];
        if (type === MessageType.P2P_RDY) socket.send(alive, port, HERE, resolveOnce);
        if (type !== MessageType.ALIVE) return;
        one.answeredAt = performance.now();
        socket.send(answer, port, HERE, () => {});
      });
      const resolveOnce = () => resolve();
      socket.bind(0, HERE, () => socket.send(punch, port, HERE));
    });
  return {
    add,
    held: () => sockets.filter(({ answeredAt }) => performance.now() - answeredAt < 3_000).length,
    heartbeats: () => 0,
    close: async () => {
      for (const { socket, port } of sockets) socket.send(goodbye, port, HERE, () => socket.close());
    },
  };
}

function memory(): { rss: number; heap: number } {
  for (let pass = 0; pass < 3; pass++) globalThis.gc?.();
  const { rss, heapUsed, external } = process.memoryUsage();
  return { rss, heap: heapUsed + external };
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
