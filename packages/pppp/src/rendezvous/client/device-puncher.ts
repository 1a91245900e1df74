import { type Clock, type Random, Repeat } from '@towpath/core';
import type { Endpoint, Network } from '@towpath/net';
import type { StreamCipher } from '../../cipher/stream-cipher.ts';
import type { PpppDevice } from '../../device/pppp-device.ts';
import { isNeighbour, isPunchable } from './addresses.ts';
import { isGuessable, type NatView } from './nat-view.ts';
import { PunchTargets } from './punch-targets.ts';

/** Most clients that are punched at the same time, and rounds for each; every request of a client starts again. */
const MAX_CLIENTS = 64;
const PUNCH_ROUNDS = 6;

export interface DevicePuncherComponents {
  device: PpppDevice;
  network: Network;
  clock: Clock;
  random: Random;
}

export interface DevicePuncherOptions {
  cipher: StreamCipher | undefined;
  portGuess: number;
  /** What the servers show about this host's NAT. */
  nat(): NatView;
}

/** Punches the clients that the servers announce, from the listen socket. */
export class DevicePuncher {
  readonly #components: DevicePuncherComponents;
  readonly #targets: PunchTargets;
  /** Addresses of clients that were announced, the latest last. */
  readonly #announced: Set<string> = new Set();
  readonly #punches: Repeat;

  constructor(components: DevicePuncherComponents, { cipher, portGuess, nat }: DevicePuncherOptions) {
    const { device, network, clock, random } = components;
    this.#components = components;
    this.#punches = new Repeat(components, {
      run: () => {
        this.#targets.run(clock.now());
        return Math.max(1, this.#targets.nextAt - clock.now());
      },
    });
    this.#targets = new PunchTargets(
      { random },
      {
        portGuess,
        limit: MAX_CLIENTS,
        rounds: PUNCH_ROUNDS,
        guessable: ({ address }) => isGuessable(address, nat(), network),
        punch: (to) => device.send({ type: 'PUNCH_PKT', uid: device.uid }, to, cipher),
      },
    );
  }

  /** Takes a server's request to punch a client. */
  punchTo(address: Endpoint, server: Endpoint): void {
    if (!isPunchable(address, server)) return;
    this.#announced.delete(address.address);
    this.#announced.add(address.address);
    for (const oldest of this.#announced) {
      if (this.#announced.size <= MAX_CLIENTS) break;
      this.#announced.delete(oldest);
    }
    if (this.#targets.add(address, this.#components.clock.now())) this.#punches.wake();
  }

  /** Whether a client at this address was announced by a server and is in another network. */
  expects({ address }: Endpoint): boolean {
    return this.#announced.has(address) && !isNeighbour(this.#components.network, address);
  }

  close(): void {
    this.#punches.stop();
    this.#targets.clear();
  }
}
