import { HERE } from './loopback.ts';
import { idleSeconds, processorSeconds } from './processor.ts';
import { Program } from './program.ts';
import { Series } from './series.ts';
import { type TurnRelay, USER } from './turn-relays.ts';

const PAYLOAD_BYTES = 1_000;
/** A client sends one message per millisecond: the most that the tool does. */
const INTERVAL_MS = 1;
/** Clients of one process of the tool, which opens them one after the other. */
const CLIENTS_EACH = 20;
/** Number of unchanged reports, one per second, after which missing messages count as lost. */
const QUIET_REPORTS = 2;
/** Sending ends after this time, also on a loaded machine. */
const LONGEST_MS = 11_000;
/** The rate is taken between these parts of all messages: the tool lets its clients begin within five seconds. */
const FROM_SHARE = 0.1;
const TO_SHARE = 0.9;
/** The rate of the whole run leaves out only the share that depends on the moment of sampling. */
const EDGE_SHARE = 0.02;
/** Precision of the two moments. */
const STEP_MS = 20;

export interface UclientRun {
  sent: number;
  received: number;
  /** Messages that arrived per second while most clients sent. */
  perSecond: number;
  /** The same from the first to the last message: hardly depends on when each client started. */
  overallPerSecond: number;
  /** Processor time of the server for the whole run, s. */
  serverSeconds: number;
  /** Cores used by the server and by the clients, and idle cores, in that time. */
  cores: { server: number; clients: number; idle: number };
}

interface Usage {
  server: Series;
  idle: Series;
}

/** Output of one process of the tool. */
interface Client {
  sent: number;
  received: Series;
  processor: Series;
}

/**
 * Lets coturn's client tool send channel data from client to client through a relay: each message passes the relay
 * twice, in by a channel and out to a relayed port, and from there in and out by a channel.
 */
export async function runUclient(relay: TurnRelay, clients: number, messagesEach: number): Promise<UclientRun> {
  const before = processorSeconds(relay.pid);
  const usage: Usage = { server: new Series(), idle: new Series() };
  const processes: Promise<Client>[] = [];
  for (let left = clients; left > 0; left -= CLIENTS_EACH) {
    processes.push(runProcess(relay, Math.min(left, CLIENTS_EACH), messagesEach, usage));
  }
  // Waits for all of them before a failure is reported.
  await Promise.allSettled(processes);
  return summary(await Promise.all(processes), usage, before);
}

async function runProcess(relay: TurnRelay, clients: number, messagesEach: number, usage: Usage): Promise<Client> {
  await using program = await Program.start('turnutils_uclient', [
    ...['-y', '-c', '-u', USER.username, '-w', USER.password, '-p', String(relay.port), '-m', String(clients)],
    ...['-n', String(messagesEach), '-z', String(INTERVAL_MS), '-l', String(PAYLOAD_BYTES), HERE],
  ]);
  const client: Client = { sent: 0, received: new Series(), processor: new Series() };
  let begunMs: number | undefined;
  let quiet = 0;
  for await (const line of program.lines()) {
    const [, sent, received] = /tot_send_msgs=(\d+), tot_recv_msgs=(\d+)/.exec(line) ?? [];
    if (received === undefined) continue;
    const nowMs = performance.now();
    client.sent = Number(sent);
    quiet = Number(received) > client.received.last ? 0 : quiet + 1;
    client.received.push(nowMs, Number(received));
    if (program.running) client.processor.push(nowMs, processorSeconds(program.pid));
    usage.server.push(nowMs, processorSeconds(relay.pid));
    usage.idle.push(nowMs, idleSeconds());
    if (client.sent > 0) begunMs ??= nowMs;
    const all = client.sent === clients * messagesEach && (client.sent === Number(received) || quiet >= QUIET_REPORTS);
    if (all || (begunMs !== undefined && nowMs - begunMs > LONGEST_MS)) break;
  }
  if (client.received.last > 0) return client;
  await program[Symbol.asyncDispose]();
  throw new Error(`Nothing came through ${relay.name}.`, { cause: await program.failure() });
}

function summary(clients: readonly Client[], { server, idle }: Usage, serverBefore: number): UclientRun {
  const receivedAt = (ms: number) => clients.reduce((sum, { received }) => sum + received.at(ms), 0);
  const processorAt = (ms: number) => clients.reduce((sum, { processor }) => sum + processor.at(ms), 0);
  const received = clients.reduce((sum, client) => sum + client.received.last, 0);
  const times = server.times;
  const first = times[0] ?? 0;
  const reached = (share: number) => {
    let atMs = first;
    while (receivedAt(atMs) < share * received) atMs += STEP_MS;
    return atMs;
  };
  const rate = (from: number, to: number) =>
    (1_000 * (receivedAt(to) - receivedAt(from))) / Math.max(STEP_MS, to - from);
  const [fromMs, toMs] = [reached(FROM_SHARE), reached(TO_SHARE)];
  const seconds = (toMs - fromMs) / 1_000;
  return {
    sent: clients.reduce((sum, { sent }) => sum + sent, 0),
    received,
    perSecond: rate(fromMs, toMs),
    overallPerSecond: rate(reached(EDGE_SHARE), reached(1 - EDGE_SHARE)),
    serverSeconds: server.last - serverBefore,
    cores: {
      server: (server.at(toMs) - server.at(fromMs)) / seconds,
      clients: (processorAt(toMs) - processorAt(fromMs)) / seconds,
      idle: (idle.at(toMs) - idle.at(fromMs)) / seconds,
    },
  };
}
