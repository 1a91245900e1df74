import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:dgram';
import { MessageClass, Method, StunWriter } from '@towpath/stun/message';
import { HERE } from './loopback.ts';
import { openEnd } from './relay-ends.ts';
import { sleep } from './relay-load.ts';

/** Header and XOR-MAPPED-ADDRESS of IPv4: the smallest answer of a server. */
export const BINDING_ANSWER_BYTES = 32;

/** Number of clients, so that the server does not profit from a cache of the last one. */
const CLIENTS = 16;
/** Requests under way, all clients together: less than a default socket buffer holds. */
const WINDOW = 128;
/** After this silence, packets in flight count as lost. */
const STALL_MS = 20;
/** Number of different request buffers: one may still be in use by the kernel when the next is sent. */
const RING = 1_024;
const TRANSACTION_ID_BYTES = 12;

/** Clients of a responder; each sends a new Binding request for each answer. */
export class BindingLoad implements AsyncDisposable {
  readonly #clients: readonly Socket[];
  readonly #requests: readonly Uint8Array[] = Array.from({ length: RING }, () =>
    new StunWriter(MessageClass.Request, Method.Binding, randomBytes(TRANSACTION_ID_BYTES)).finish(),
  );

  private constructor(clients: readonly Socket[]) {
    this.#clients = clients;
  }

  static async open(port: number): Promise<BindingLoad> {
    const clients = await Promise.all(Array.from({ length: CLIENTS }, () => openEnd()));
    await Promise.all(clients.map((client) => new Promise<void>((resolve) => client.connect(port, HERE, resolve))));
    return new BindingLoad(clients);
  }

  /** @returns answers of the right size that came within `forMs`, and in how much time exactly. */
  async run(forMs: number): Promise<{ answers: number; elapsedMs: number }> {
    let answers = 0;
    let sent = 0;
    let underWay = 0;
    const fill = () => {
      for (; underWay < WINDOW; underWay++) {
        const request = this.#requests[sent % RING];
        const client = this.#clients[sent++ % CLIENTS];
        if (request !== undefined) client?.send(request);
      }
    };
    const onMessage = (data: Buffer) => {
      if (data.length !== BINDING_ANSWER_BYTES) return;
      answers++;
      underWay = Math.max(0, underWay - 1);
      fill();
    };
    for (const client of this.#clients) client.on('message', onMessage);
    let seen = -1;
    const watch = setInterval(() => {
      if (answers === seen) underWay = 0;
      seen = answers;
      fill();
    }, STALL_MS);
    const startedAt = performance.now();
    fill();
    await sleep(forMs);
    const result = { answers, elapsedMs: performance.now() - startedAt };
    clearInterval(watch);
    for (const client of this.#clients) client.off('message', onMessage);
    // Answers still in flight belong to no run.
    await sleep(2 * STALL_MS);
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#clients.map((client) => new Promise<void>((resolve) => client.close(resolve))));
  }
}
