/** A bus within one process: everything arrives, later in the same turn of the event loop. */
export class LocalBus {
  readonly #channels = new Map<string, Set<(data: Uint8Array) => void>>();

  publish(channel: string, data: Uint8Array): void {
    const handlers = this.#channels.get(channel);
    if (handlers === undefined) return;
    // As over a network: never while the publisher is still at it.
    queueMicrotask(() => {
      for (const handler of [...handlers]) handler(data);
    });
  }

  subscribe(channel: string, handler: (data: Uint8Array) => void): () => void {
    const handlers = this.#channels.get(channel) ?? new Set();
    this.#channels.set(channel, handlers);
    handlers.add(handler);
    return () => {
      handlers.delete(handler);
      if (handlers.size === 0 && this.#channels.get(channel) === handlers) this.#channels.delete(channel);
    };
  }
}
