import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:dgram';
import { MessageClass, Method, StunWriter } from '@towpath/stun';
import { HERE } from './loopback.ts';
import { openEnd } from './relay-ends.ts';
import { sleep } from './relay-load.ts';

/** Header and XOR-MAPPED-ADDRESS of IPv4: what a server without more to say answers. */
export const BINDING_ANSWER_BYTES = 32;

/** Clients, so that the server cannot live on having just seen the same one. */
const CLIENTS = 16;
/** Requests under way, all clients together: less than a default socket buffer holds. */
const WINDOW = 128;
/** After so much silence what is under way counts as lost. */
const STALL_MS = 20;
/** Different requests; bytes may still be on their way into the kernel when the next one leaves. */
const RING = 1_024;
const TRANSACTION_ID_BYTES = 12;

/** Clients of a responder that ask for their address as often as it answers. */
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
    // What is still under way belongs to no run.
    await sleep(2 * STALL_MS);
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#clients.map((client) => new Promise<void>((resolve) => client.close(resolve))));
  }
}
