/** A bus in one process: messages are delivered asynchronously in the same event loop iteration. */
export class LocalBus {
  readonly #channels = new Map<string, Set<(data: Uint8Array) => void>>();

  publish(channel: string, data: Uint8Array): void {
    const handlers = this.#channels.get(channel);
    if (handlers === undefined) return;
    // Asynchronous, as over a network: not during the publisher's call.
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
