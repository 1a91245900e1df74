import { SystemClock, SystemRandom } from '@towpath/core';
import { ControlClient } from '../src/client/control-client.ts';
import type { ClientStorage } from '../src/client/client-storage.ts';
import { HttpTransport } from '../src/client/http-transport.ts';
import { ControlServer, type ControlServerOptions } from '../src/http/control-server.ts';
import { generateNodeIdentity, type NodeIdentity } from '../src/identity/node-identity.ts';
import { MemoryStore } from '../src/store/memory-store.ts';
import type { ControlStore } from '../src/store/store.ts';
import { NONCE_BYTES, signRequest } from '../src/wire/request-signing.ts';

export const clock: SystemClock = new SystemClock();
export const random: SystemRandom = new SystemRandom();

/** Servers and clients of one test, on real loopback sockets; all of them end with it. */
export class Rig implements AsyncDisposable {
  readonly #open: AsyncDisposable[] = [];

  async server(
    init: ControlServerOptions = {},
    store: ControlStore = new MemoryStore({ clock }),
  ): Promise<ControlServer> {
    const server = await ControlServer.start({ store, clock, random }, { names: [RIG], founding: 'open', ...init });
    this.#open.push(server);
    return server;
  }

  async client(
    servers: readonly string[],
    init: { identity?: NodeIdentity; storage?: ClientStorage; ca?: string; live?: boolean } = {},
  ): Promise<ControlClient> {
    const client = await ControlClient.open({
      transport: new HttpTransport({ clock, random }, { servers, ...(init.ca === undefined ? {} : { ca: init.ca }) }),
      identity: init.identity ?? generateNodeIdentity(random),
      clock,
      random,
      ...(init.storage === undefined ? {} : { storage: init.storage }),
      live: init.live ?? true,
    });
    this.#open.push(client);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const each of this.#open.reverse()) await each[Symbol.asyncDispose]();
  }
}

/** The name of every server of a {@link Rig}. */
const RIG = 'rig.test';

/** Signed headers for a raw request. */
export function signedHeaders(
  identity: NodeIdentity,
  method: string,
  path: string,
  body = '',
  timeMs: number = clock.wallTime(),
): Record<string, string> {
  const parts = { method, path, body: new TextEncoder().encode(body) };
  return signRequest(identity.signing, parts, { server: RIG, timeMs, nonce: random.bytes(NONCE_BYTES) });
}

/** Resolves when `check` is true; looks at it every few ms. */
export async function until(check: () => boolean | Promise<boolean>, what: string, limitMs = 20_000): Promise<void> {
  const end = clock.now() + limitMs;
  while (!(await check())) {
    if (clock.now() > end) throw new Error(`${what} did not happen within ${limitMs / 1_000} s`);
    await clock.sleep(2);
  }
}
