/** A STUN server in a process of its own, or the smallest server that answers a datagram. */
import { BINDING_ANSWER_BYTES } from '../support/binding-load.ts';
import { HERE, realComponents } from '../support/loopback.ts';
import { openEnd } from '../support/relay-ends.ts';
import { parentLeft, tell, workerTask } from '../support/worker.ts';
import { StunServer } from '@towpath/stun/server';

export interface ResponderTask {
  kind: 'stun' | 'echo';
}

/** Its message when it listens. */
export interface ResponderReady {
  port: number;
}

/** Its answer to each message. */
export interface ResponderUsage {
  cpuUs: number;
}

const { kind } = workerTask<ResponderTask>();
const responder = await (kind === 'stun' ? stun() : echo());
process.on('message', () => {
  const { user, system } = process.cpuUsage();
  const usage: ResponderUsage = { cpuUs: user + system };
  tell(usage);
});
const ready: ResponderReady = { port: responder.port };
tell(ready);
await parentLeft();
await responder.close();

async function stun(): Promise<{ port: number; close(): unknown }> {
  const server = await StunServer.listen(realComponents(), {
    address: HERE,
    port: 0,
    // The load comes from one address.
    answersPerSecond: Number.POSITIVE_INFINITY,
    answersPerSecondTotal: Number.POSITIVE_INFINITY,
  });
  return { port: server.local.port, close: () => server.close() };
}

/** Answers of the server's size, prepared once. */
async function echo(): Promise<{ port: number; close(): unknown }> {
  const socket = await openEnd();
  const answer = Buffer.alloc(BINDING_ANSWER_BYTES);
  socket.on('message', (_data, { port, address }) => socket.send(answer, port, address));
  return { port: socket.address().port, close: () => socket.close() };
}
