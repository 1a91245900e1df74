import type { WebSocket } from 'ws';

/** How many bytes nodes may leave unread. */
export interface BufferLimits {
  /** One connection. */
  readonly perConnectionBytes: number;
  /** All connections of one address. */
  readonly perAddressBytes: number;
  /** All connections. */
  readonly totalBytes: number;
}

/** Bytes between two exact sums; so that a send costs no sum over all connections. */
const RECOUNT_EVERY_BYTES = 1_048_576;

/**
 * Bounds the memory that nodes make a server use by not reading. What was sent is added up; when a sum comes near its
 * limit, what is still unread is counted exactly.
 */
export class BufferedMemory {
  readonly #limits: BufferLimits;
  readonly #shares = new Map<string, AddressShare>();
  #sentBytes = 0;
  #countedBytes = 0;

  constructor(limits: BufferLimits) {
    this.#limits = limits;
  }

  of(address: string): AddressShare {
    const share = this.#shares.get(address) ?? new AddressShare(address, this);
    this.#shares.set(address, share);
    return share;
  }

  /** Unread bytes of all connections, counted now. */
  count(): number {
    let bytes = 0;
    for (const share of this.#shares.values()) bytes += share.count();
    return bytes;
  }

  /** @internal Whether the connection may keep what was just sent to it unread. */
  admits(share: AddressShare, socket: WebSocket, sentBytes: number): boolean {
    const { perConnectionBytes, perAddressBytes, totalBytes } = this.#limits;
    if (socket.bufferedAmount === 0) return true;
    if (socket.bufferedAmount > perConnectionBytes) return false;
    if (share.sent(sentBytes, perAddressBytes) > perAddressBytes) return false;
    this.#sentBytes += sentBytes;
    if (this.#sentBytes > Math.min(RECOUNT_EVERY_BYTES, totalBytes / 8)) {
      this.#sentBytes = 0;
      this.#countedBytes = this.count();
    }
    return this.#countedBytes + this.#sentBytes <= totalBytes;
  }

  /** @internal */
  forget(address: string): void {
    this.#shares.delete(address);
  }
}

/** The connections of one address. */
export class AddressShare {
  readonly #address: string;
  readonly #memory: BufferedMemory;
  readonly #sockets = new Set<WebSocket>();
  #sentBytes = 0;
  #countedBytes = 0;

  constructor(address: string, memory: BufferedMemory) {
    this.#address = address;
    this.#memory = memory;
  }

  add(socket: WebSocket): void {
    this.#sockets.add(socket);
  }

  delete(socket: WebSocket): void {
    this.#sockets.delete(socket);
    if (this.#sockets.size === 0) this.#memory.forget(this.#address);
  }

  /** Whether `socket` may keep `sentBytes`, which were just sent to it, unread. */
  admits(socket: WebSocket, sentBytes: number): boolean {
    return this.#memory.admits(this, socket, sentBytes);
  }

  count(): number {
    let bytes = 0;
    for (const socket of this.#sockets) bytes += socket.bufferedAmount;
    return bytes;
  }

  /** @internal @returns at least what is unread now, exact to an eighth of the limit. */
  sent(bytes: number, limitBytes: number): number {
    this.#sentBytes += bytes;
    if (this.#sentBytes > Math.min(RECOUNT_EVERY_BYTES, limitBytes / 8)) {
      this.#sentBytes = 0;
      this.#countedBytes = this.count();
    }
    return this.#countedBytes + this.#sentBytes;
  }
}
