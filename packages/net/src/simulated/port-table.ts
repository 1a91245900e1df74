import type { Random } from '@towpath/core';

/** The ports that a system gives to sockets that ask for none (Linux's range). */
const FIRST_EPHEMERAL_PORT = 32_768;
const LAST_EPHEMERAL_PORT = 60_999;

interface Bound<T> {
  readonly socket: T;
  readonly address: string;
  readonly reuse: boolean;
}

/** Which sockets of one family hold which ports. */
export class PortTable<T extends object> {
  readonly #random: Random;
  readonly #ports = new Map<number, Bound<T>[]>();

  constructor(random: Random) {
    this.#random = random;
  }

  /** Enters a socket; port 0 means any free one. `undefined` when the port is taken or none is left. */
  bind(socket: T, address: string, port: number, reuse: boolean): number | undefined {
    const given = port === 0 ? this.#freePort() : port;
    if (given === undefined || this.#isTaken(address, given, reuse)) return undefined;
    const bound = this.#ports.get(given);
    const entry = { socket, address, reuse };
    if (bound) bound.push(entry);
    else this.#ports.set(given, [entry]);
    return given;
  }

  release(socket: T, port: number): void {
    const left = (this.#ports.get(port) ?? []).filter((bound) => bound.socket !== socket);
    if (left.length > 0) this.#ports.set(port, left);
    else this.#ports.delete(port);
  }

  /** All sockets of a port, in order of binding. */
  all(port: number): T[] {
    return (this.#ports.get(port) ?? []).map(({ socket }) => socket);
  }

  /**
   * The socket that gets what is sent to this address: the one with the highest score, then the exact address before the
   * wildcard, then the youngest.
   * @param score 0: does not take it, 1: takes it, 2: is connected to the sender
   */
  find(address: string, port: number, score: (socket: T) => 0 | 1 | 2 = () => 1): T | undefined {
    const bound = this.#ports.get(port);
    if (bound === undefined) return undefined;
    let best: T | undefined;
    let bestScore = 0;
    for (let at = bound.length - 1; at >= 0; at--) {
      const candidate = bound[at]!;
      const exact = candidate.address === address;
      if (!exact && !isWildcard(candidate.address)) continue;
      const fit = score(candidate.socket);
      const total = fit === 0 ? 0 : 2 * fit + (exact ? 1 : 0);
      if (total > bestScore) [best, bestScore] = [candidate.socket, total];
    }
    return best;
  }

  #isTaken(address: string, port: number, reuse: boolean): boolean {
    return (this.#ports.get(port) ?? []).some((bound) => {
      const overlaps = bound.address === address || isWildcard(bound.address) || isWildcard(address);
      return overlaps && !(reuse && bound.reuse);
    });
  }

  #freePort(): number | undefined {
    const count = LAST_EPHEMERAL_PORT - FIRST_EPHEMERAL_PORT + 1;
    const start = this.#random.integer(0, count - 1);
    for (let tries = 0; tries < count; tries++) {
      const port = FIRST_EPHEMERAL_PORT + ((start + tries) % count);
      if (!this.#ports.has(port)) return port;
    }
    return undefined;
  }
}

function isWildcard(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}
