/** A STUN server in a process of its own, or the least that answers a datagram with another one. */
import { BINDING_ANSWER_BYTES } from '../support/binding-load.ts';
import { HERE, realComponents } from '../support/loopback.ts';
import { openEnd } from '../support/relay-ends.ts';
import { letGo, tell, workerTask } from '../support/worker.ts';
import { StunServer } from '@towpath/stun';

export interface ResponderTask {
  kind: 'stun' | 'echo';
}

/** What it says when it listens. */
export interface ResponderReady {
  port: number;
}

/** What it says whenever it is asked. */
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
await letGo();
await responder.close();

async function stun(): Promise<{ port: number; close(): unknown }> {
  const server = await StunServer.listen(realComponents(), { address: HERE, port: 0 });
  return { port: server.local.port, close: () => server.close() };
}

/** Answers as large as the server's, made once. */
async function echo(): Promise<{ port: number; close(): unknown }> {
  const socket = await openEnd();
  const answer = Buffer.alloc(BINDING_ANSWER_BYTES);
  socket.on('message', (_data, { port, address }) => socket.send(answer, port, address));
  return { port: socket.address().port, close: () => socket.close() };
}
