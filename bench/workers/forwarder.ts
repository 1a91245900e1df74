/** A relay in a process of its own, or the smallest forwarder of datagrams, or the smallest state of a relay. */
import { RelayServer } from '@towpath/pppp/server';
import { HERE, realComponents } from '../support/loopback.ts';
import { openEnd } from '../support/relay-ends.ts';
import { parentLeft, tell, workerTask } from '../support/worker.ts';

export interface ForwarderTask {
  /** `records` forwards nothing: it holds the requested number of bare records. */
  kind: 'relay' | 'bare' | 'records';
}

/** Its message when it listens: the relay's base port, or the only one. */
export interface ForwarderReady {
  port: number;
}

export interface ForwarderQuestion {
  /** For `bare`: where datagrams of each source port go. */
  routes?: readonly (readonly [from: number, to: number])[];
  /** For `records`: how many to hold. */
  records?: number;
  /** Collect garbage before memory is measured. Needs --expose-gc. */
  collect?: boolean;
}

export interface ForwarderUsage {
  cpuUs: number;
  /** Forwarded datagrams; 0 for a bare forwarder, which does not count. */
  forwarded: number;
  sessions: number;
  rss: number;
  heap: number;
}

interface Forwarder {
  port: number;
  answer(question: ForwarderQuestion): Pick<ForwarderUsage, 'forwarded' | 'sessions'>;
  close(): unknown;
}

const { kind } = workerTask<ForwarderTask>();
const forwarder = await { relay, bare, records }[kind]();
process.on('message', (question: ForwarderQuestion) => {
  const counts = forwarder.answer(question);
  for (let pass = 0; question.collect === true && pass < 3; pass++) globalThis.gc?.();
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed, external } = process.memoryUsage();
  const usage: ForwarderUsage = { ...counts, cpuUs: user + system, rss, heap: heapUsed + external };
  tell(usage);
});
const ready: ForwarderReady = { port: forwarder.port };
tell(ready);
await parentLeft();
await forwarder.close();

async function relay(): Promise<Forwarder> {
  const server = await RelayServer.listen(realComponents(), { address: HERE, port: 0 });
  return {
    port: server.endpoint.port,
    answer() {
      const { packetsForwarded, sessions } = server.metrics;
      return { forwarded: packetsForwarded, sessions };
    },
    close: () => server.close(),
  };
}

async function bare(): Promise<Forwarder> {
  const socket = await openEnd();
  const ports = new Map<number, number>();
  let only = 0;
  const toOnly = (data: Buffer) => socket.send(data, only, HERE);
  const toMany = (data: Buffer, from: { port: number }) => socket.send(data, ports.get(from.port), HERE);
  return {
    port: socket.address().port,
    answer({ routes = [] }) {
      for (const [from, to] of routes) ports.set(from, to);
      const [first] = ports.values();
      only = first ?? 0;
      if (routes.length > 0) socket.removeAllListeners('message').on('message', ports.size === 1 ? toOnly : toMany);
      return { forwarded: 0, sessions: ports.size };
    },
    close: () => socket.close(),
  };
}

function records(): Forwarder {
  const known = new Map<string, object>();
  return {
    port: 0,
    answer({ records: wanted = 0 }) {
      for (let n = known.size / 2; n < wanted; n++) {
        const [client, device] = [`127.1.${n >> 8}.${n & 0xff}`, `127.2.${n >> 8}.${n & 0xff}`];
        const record = { magic: n, client, clientPort: 40_000, device, devicePort: 50_000, lastActiveMs: n + 0.5 };
        known.set(`${client}:40000`, record);
        known.set(`${device}:50000`, record);
      }
      return { forwarded: 0, sessions: known.size / 2 };
    },
    close: () => known.clear(),
  };
}
