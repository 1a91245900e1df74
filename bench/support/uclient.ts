import { HERE } from './loopback.ts';
import { idleSeconds, processorSeconds } from './processor.ts';
import { Program } from './program.ts';
import { type TurnRelay, USER } from './turn-relays.ts';

const PAYLOAD_BYTES = 1_000;
/** Each client sends one message per millisecond: the most that the tool does. */
const INTERVAL_MS = 1;
/** Reports, one per second, without news after which what has not come is lost. */
const QUIET_REPORTS = 2;
/** Sending ends after this, whatever is left: a machine that has other work would take its time. */
const LONGEST_MS = 6_000;
/** The rate is taken between these parts of all messages, because clients begin and end one after the other. */
const FROM_SHARE = 0.2;
const TO_SHARE = 0.8;

export interface UclientRun {
  sent: number;
  received: number;
  /** Messages that arrived per second while all clients sent. */
  perSecond: number;
  /** Processor time of the server for the whole run, s. */
  serverSeconds: number;
  /** Cores that the server, the clients and nobody kept busy while messages were under way. */
  cores: { server: number; clients: number; idle: number };
}

interface Report {
  atMs: number;
  sent: number;
  received: number;
  server: number;
  clients: number;
  idle: number;
}

/**
 * Lets coturn's client tool send channel data from client to client through a relay: each message passes the relay
 * twice, in by a channel and out to a relayed port, and from there in and out by a channel.
 */
export async function runUclient(relay: TurnRelay, clients: number, messagesEach: number): Promise<UclientRun> {
  const before = processorSeconds(relay.pid);
  await using program = await Program.start('turnutils_uclient', [
    ...['-y', '-c', '-u', USER.username, '-w', USER.password, '-p', String(relay.port), '-m', String(clients)],
    ...['-n', String(messagesEach), '-z', String(INTERVAL_MS), '-l', String(PAYLOAD_BYTES), HERE],
  ]);
  const total = clients * messagesEach;
  const reports: Report[] = [];
  for await (const line of program.lines()) {
    const [, sent, received] = /tot_send_msgs=(\d+), tot_recv_msgs=(\d+)/.exec(line) ?? [];
    if (received === undefined) continue;
    const mine = program.running ? processorSeconds(program.pid) : (reports.at(-1)?.clients ?? 0);
    reports.push({
      atMs: performance.now(),
      sent: Number(sent),
      received: Number(received),
      server: processorSeconds(relay.pid),
      clients: mine,
      idle: idleSeconds(),
    });
    if (isOver(reports, total)) break;
  }
  const last = reports.at(-1);
  if (last === undefined || last.received === 0) throw await ended(program, relay);
  return summary(reports, last, before);
}

function isOver(reports: readonly Report[], total: number): boolean {
  const last = reports.at(-1);
  const quiet = reports.at(-1 - QUIET_REPORTS);
  const begun = reports.find((report) => report.sent > 0);
  if (last === undefined || begun === undefined) return false;
  if (last.atMs - begun.atMs > LONGEST_MS) return true;
  if (last.sent < total) return false;
  return last.received === last.sent || last.received === quiet?.received;
}

function summary(reports: readonly Report[], last: Report, serverBefore: number): UclientRun {
  const { sent, received } = last;
  const fromMs = timeOf(reports, FROM_SHARE * received);
  const toMs = timeOf(reports, TO_SHARE * received);
  const busy = reports.filter((report, at) => report.received > (reports[at - 1]?.received ?? 0));
  const first = reports[reports.indexOf(busy[0] ?? last) - 1] ?? last;
  const end = busy.at(-1) ?? last;
  const seconds = (end.atMs - first.atMs) / 1_000;
  return {
    sent,
    received,
    perSecond: (1_000 * (TO_SHARE - FROM_SHARE) * received) / (toMs - fromMs),
    serverSeconds: last.server - serverBefore,
    cores: {
      server: (end.server - first.server) / seconds,
      clients: (end.clients - first.clients) / seconds,
      idle: (end.idle - first.idle) / seconds,
    },
  };
}

/** When so many messages had arrived, read off between two reports. */
function timeOf(reports: readonly Report[], received: number): number {
  const at = reports.findIndex((report) => report.received >= received);
  const [before, after] = [reports[at - 1], reports[at]];
  if (before === undefined || after === undefined) throw new Error('The client tool reported too seldom to be timed.');
  const share = (received - before.received) / (after.received - before.received);
  return before.atMs + share * (after.atMs - before.atMs);
}

async function ended(program: Program, relay: TurnRelay): Promise<Error> {
  await program[Symbol.asyncDispose]();
  return new Error(`Nothing came through ${relay.name}.`, { cause: await program.failure() });
}
