import type { Clock, Log, Random } from '@towpath/core';
import { verifySignature } from '../identity/keys.ts';
import { generateNodeIdentity, type NodeIdentity } from '../identity/node-identity.ts';
import { ControlService, type ControlServiceInit } from '../server/service.ts';
import { MemoryStore } from '../store/memory-store.ts';
import type { ControlStore } from '../store/store.ts';
import type { ClientStorage } from './client-storage.ts';
import { ControlClient } from './control-client.ts';
import { LocalTransport } from './local-transport.ts';

/**
 * A control plane within one process: the same service and the same clients as over the network, without sockets.
 * For tests, simulations and demonstrations; runs on a virtual clock, signatures are checked at once.
 */
export class LocalControlPlane implements AsyncDisposable {
  readonly service: ControlService;
  readonly #components: { clock: Clock; random: Random; log?: Log };
  readonly #clients = new Set<ControlClient>();

  private constructor(service: ControlService, components: { clock: Clock; random: Random; log?: Log }) {
    this.service = service;
    this.#components = components;
  }

  /** @param init.store where parties are kept. @default memory */
  static async start(
    components: { clock: Clock; random: Random; log?: Log },
    init: ControlServiceInit & { store?: ControlStore } = {},
  ): Promise<LocalControlPlane> {
    const store = init.store ?? new MemoryStore(components);
    return new LocalControlPlane(
      await ControlService.start({ ...components, store, verify: verifySignature }, init),
      components,
    );
  }

  /** A node of this process: what `mesh` is given as its control plane. */
  async node(init: { identity?: NodeIdentity; storage?: ClientStorage } = {}): Promise<ControlClient> {
    const { clock } = this.#components;
    const client = await ControlClient.open({
      ...this.#components,
      verify: verifySignature,
      transport: new LocalTransport({ clock, service: this.service }),
      identity: init.identity ?? generateNodeIdentity(this.#components.random),
      ...(init.storage === undefined ? {} : { storage: init.storage }),
    });
    this.#clients.add(client);
    return client;
  }

  /** Closes the nodes and the service. Idempotent. */
  async close(): Promise<void> {
    for (const client of this.#clients) await client.close();
    await this.service.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
