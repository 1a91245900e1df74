import type { Clock, Random, Timer } from '@towpath/core';
import type { Endpoint, Network } from '@towpath/net';
import type { StreamCipher } from '../cipher/stream-cipher.ts';
import type { PpppDevice } from '../device/pppp-device.ts';
import { isNeighbour, isPunchable } from './addresses.ts';
import { isGuessable, type NatView } from './nat-view.ts';
import { PunchTargets } from './punch-targets.ts';

/** Clients that are punched at a time, and how often each; every request of a client starts anew. */
const MAX_CLIENTS = 64;
const PUNCH_ROUNDS = 6;

export interface DevicePuncherOptions {
  device: PpppDevice;
  network: Network;
  clock: Clock;
  random: Random;
  cipher: StreamCipher | undefined;
  portGuess: number;
  /** What the servers tell of our NAT. */
  nat(): NatView;
}

/** Punches the clients that the servers announce, from the listen socket. */
export class DevicePuncher {
  readonly #options: DevicePuncherOptions;
  readonly #targets: PunchTargets;
  /** Addresses of clients that were announced, the latest last. */
  readonly #announced: Set<string> = new Set();
  #timer: Timer | undefined;

  constructor(options: DevicePuncherOptions) {
    const { device, network, random, cipher, portGuess, nat } = options;
    this.#options = options;
    this.#targets = new PunchTargets({
      random,
      portGuess,
      limit: MAX_CLIENTS,
      rounds: PUNCH_ROUNDS,
      guessable: ({ address }) => isGuessable(address, nat(), network),
      punch: (to) => device.send({ type: 'PUNCH_PKT', uid: device.uid }, to, cipher),
    });
  }

  /** A server says that a client wants to be punched there. */
  punchTo(address: Endpoint, server: Endpoint): void {
    if (!isPunchable(address, server)) return;
    this.#announced.delete(address.address);
    this.#announced.add(address.address);
    for (const oldest of this.#announced) {
      if (this.#announced.size <= MAX_CLIENTS) break;
      this.#announced.delete(oldest);
    }
    if (this.#targets.add(address, this.#options.clock.now())) this.#punch();
  }

  /** Whether a client that comes from there was announced by a server and is not of our own network. */
  expects({ address }: Endpoint): boolean {
    return this.#announced.has(address) && !isNeighbour(this.#options.network, address);
  }

  close(): void {
    this.#timer?.cancel();
    this.#targets.clear();
  }

  #punch(): void {
    const { clock } = this.#options;
    this.#timer?.cancel();
    this.#targets.run(clock.now());
    const pauseMs = this.#targets.nextAt - clock.now();
    if (Number.isFinite(pauseMs)) this.#timer = clock.timer(Math.max(1, pauseMs), () => this.#punch());
  }
}
