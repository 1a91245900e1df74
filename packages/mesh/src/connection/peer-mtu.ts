import { AbortedError, type Clock, errorMessage, type Log, type Timer } from '@towpath/core';
import { findPathMtu, isTooLarge } from '../health/path-mtu.ts';
import type { PeerHealth } from '../health/peer-health.ts';
import type { PeerNetwork } from './peer-network.ts';

export interface PeerMtuComponents {
  clock: Clock;
  log: Log;
  machine: Pick<PeerNetwork, 'mtuBytes' | 'setPeerMtu' | 'echo'>;
}

/** Whose packets they are. An object instead of functions: there may be thousands. */
export interface PeerMtuOwner {
  /** Virtual address of the peer. */
  readonly virtualIp: string;
  /** Another size was found. */
  mtuChanged(): void;
}

const TEST_MS = 600_000;
/**
 * While data is carried the size in use is tested so often, ms: a relay, or a router on the way, may begin to lose large packets
 * while small ones pass. Longer than an echo counts as data, or its tests would keep a peer in use.
 */
const CHECK_MS = 30_000;

/** Finds the largest packet that a peer receives, and has the system send no larger ones: docs/protocol/mesh.md, "Path MTU". */
export class PeerMtu {
  readonly #components: PeerMtuComponents;
  readonly #health: PeerHealth;
  readonly #owner: PeerMtuOwner;
  #bytes: number;
  /** The test that is under way. */
  #test: AbortController | undefined;
  #next: Timer | undefined;
  #checkedAtMs = Number.NEGATIVE_INFINITY;

  constructor(components: PeerMtuComponents, health: PeerHealth, owner: PeerMtuOwner) {
    this.#components = components;
    this.#health = health;
    this.#owner = owner;
    this.#bytes = components.machine.mtuBytes;
  }

  /** Of packets inside the tunnel. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Tests the path now, and again from time to time; ends the test of the path before. */
  async test(): Promise<void> {
    this.end('The path has changed.');
    const test = this.#begin();
    const { clock, log } = this.#components;
    try {
      await this.#find(test.signal);
    } catch (error) {
      if (!test.signal.aborted) log.warn('The path MTU could not be set.', { error: errorMessage(error) });
    }
    if (test.signal.aborted) return;
    // Between two tests a peer has this timer and nothing else: there may be thousands.
    this.#test = undefined;
    this.#next = clock.timer(TEST_MS, () => void this.test());
  }

  /** Data is carried: looks whether packets of the size in use still arrive, when that was not looked at lately. */
  async inUse(): Promise<void> {
    const { clock, log, machine } = this.#components;
    const isDue = clock.now() - this.#checkedAtMs >= CHECK_MS;
    if (!isDue || this.#test !== undefined || this.#next === undefined) return;
    const test = this.#begin();
    const { signal } = test;
    const options = { address: this.#owner.virtualIp, rttMs: this.#health.rttMs ?? 0, signal };
    try {
      if (await isTooLarge({ clock, echo: machine.echo }, options, this.#bytes)) {
        log.info(`Packets of ${this.#bytes} bytes do not arrive any more.`);
        await this.test();
      }
    } catch (error) {
      if (!signal.aborted) log.warn('The path MTU could not be tested.', { error: errorMessage(error) });
    }
    if (this.#test === test) this.#test = undefined;
  }

  /** Ends what is under way. @param reason of the abort */
  end(reason: string): void {
    this.#next?.cancel();
    this.#next = undefined;
    this.#test?.abort(new AbortedError(reason));
    this.#test = undefined;
  }

  #begin(): AbortController {
    this.#checkedAtMs = this.#components.clock.now();
    this.#test = new AbortController();
    return this.#test;
  }

  async #find(signal: AbortSignal): Promise<void> {
    const { clock, machine } = this.#components;
    const { virtualIp: address } = this.#owner;
    await this.#health.reached(signal);
    await machine.setPeerMtu(address, undefined);
    const rttMs = this.#health.rttMs ?? 0;
    const found = await findPathMtu({ clock, echo: machine.echo }, { address, rttMs, signal });
    await machine.setPeerMtu(address, found ?? this.#bytes);
    this.#checkedAtMs = clock.now();
    if (found === undefined || Math.min(found, machine.mtuBytes) === this.#bytes) return;
    this.#bytes = Math.min(found, machine.mtuBytes);
    this.#owner.mtuChanged();
  }
}
