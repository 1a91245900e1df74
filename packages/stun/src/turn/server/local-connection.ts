import type { Endpoint, TcpConnection, TcpHandlers } from '@towpath/net';

/** A connection within the process stops the writer when so much waits to be read, in bytes. */
const HIGH_WATER_BYTES = 1 << 18;

/** One end of a TCP connection that never leaves the process. */
class LocalEnd implements TcpConnection {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  other!: LocalEnd;
  handlers: TcpHandlers | undefined;
  /** What was written by the other end and not read yet. */
  readonly #inbox: Uint8Array[] = [];
  #inboxBytes = 0;
  #paused = false;
  #ending = false;
  #closed = false;
  #delivering = false;

  constructor(local: Endpoint, remote: Endpoint) {
    this.local = local;
    this.remote = remote;
  }

  get bufferedBytes(): number {
    return this.other.#inboxBytes;
  }

  write(data: Uint8Array): boolean {
    if (this.#ending || this.#closed) return false;
    const { other } = this;
    if (other.#closed) return false;
    other.#inbox.push(data);
    other.#inboxBytes += data.length;
    other.#deliver();
    return other.#inboxBytes < HIGH_WATER_BYTES;
  }

  setPaused(paused: boolean): void {
    this.#paused = paused;
    this.#deliver();
  }

  async close(): Promise<void> {
    this.#ending = true;
    this.other.#deliver();
    this.#deliver();
  }

  destroy(): void {
    this.#finish();
    this.other.#finish();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  attach(handlers: TcpHandlers): void {
    this.handlers = handlers;
    this.#deliver();
  }

  /** Hands out what is there. A handler may write, pause or close meanwhile. */
  #deliver(): void {
    if (this.#delivering || this.#closed || this.handlers === undefined) return;
    this.#delivering = true;
    const before = this.#inboxBytes;
    while (!this.#paused && !this.#closed && this.#inbox.length > 0) {
      const data = this.#inbox.shift()!;
      this.#inboxBytes -= data.length;
      if (!this.#ending) this.handlers.onData(data);
    }
    this.#delivering = false;
    if (before >= HIGH_WATER_BYTES && this.#inboxBytes < HIGH_WATER_BYTES) this.other.handlers?.onDrain?.();
    const over = this.#ending || this.other.#ending;
    if (over && (this.#inbox.length === 0 || this.#ending)) this.#finish();
  }

  #finish(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#inbox.length = 0;
    this.#inboxBytes = 0;
    this.handlers?.onClose?.();
    if (this.#ending || this.other.#ending) this.other.#deliver();
  }
}

/** A connection whose handlers are given after it was made. */
export interface UnattachedConnection extends TcpConnection {
  attach(handlers: TcpHandlers): void;
}

/**
 * Returns both ends of a connection between two relayed addresses of one server. It stays within the process: with its
 * listener on the relayed port, the system does not let a connection leave from there.
 */
export function localConnection(from: Endpoint, to: Endpoint): [UnattachedConnection, UnattachedConnection] {
  const [near, far] = [new LocalEnd(from, to), new LocalEnd(to, from)];
  near.other = far;
  far.other = near;
  return [near, far];
}
