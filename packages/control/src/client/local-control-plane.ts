import type { Clock, Log, Random } from '@towpath/core';
import { verifySignature } from '@towpath/membership';
import { generateNodeIdentity, type NodeIdentity } from '../identity/node-identity.ts';
import { ControlService, type ControlServiceOptions } from '../server/service.ts';
import { MemoryStore } from '../store/memory-store.ts';
import type { ControlStore } from '../store/store.ts';
import type { ClientStorage } from './client-storage.ts';
import { ControlClient } from './control-client.ts';
import { LocalTransport } from './local-transport.ts';

/**
 * A control plane in one process: the same service and clients as over the network, without sockets.
 * For tests, simulations and demonstrations; runs on a virtual clock, and checks signatures synchronously.
 */
export class LocalControlPlane implements AsyncDisposable {
  readonly service: ControlService;
  readonly #components: { clock: Clock; random: Random; log?: Log | undefined };
  readonly #clients = new Set<ControlClient>();

  private constructor(
    components: { clock: Clock; random: Random; log?: Log | undefined },
    { service }: { service: ControlService },
  ) {
    this.service = service;
    this.#components = components;
  }

  /** @param options.store store of the parties. @default memory */
  static async start(
    components: { clock: Clock; random: Random; log?: Log | undefined },
    options: ControlServiceOptions & { store?: ControlStore } = {},
  ): Promise<LocalControlPlane> {
    const store = options.store ?? new MemoryStore(components);
    const service = await ControlService.start(
      { ...components, store, verify: verifySignature },
      { founding: 'open', ...options },
    );
    return new LocalControlPlane(components, { service });
  }

  /** Returns a node of this process, as control plane for `mesh`. */
  async node(options: { identity?: NodeIdentity; storage?: ClientStorage } = {}): Promise<ControlClient> {
    const { clock } = this.#components;
    const client = await ControlClient.open({
      ...this.#components,
      verify: verifySignature,
      transport: new LocalTransport({ clock, service: this.service }),
      identity: options.identity ?? generateNodeIdentity(this.#components.random),
      ...(options.storage === undefined ? {} : { storage: options.storage }),
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
