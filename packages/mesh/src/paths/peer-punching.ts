import type { Clock, Log, Random } from '@towpath/core';
import { addressFamily, type Endpoint, isPrivateAddress, type Network } from '@towpath/net';
import type { ConnectivityChecks } from '@towpath/stun';
import type { MeshCandidate } from './candidate-signal.ts';
import type { NatWatch } from './nat-watch.ts';
import type { PairMemory } from './pair-memory.ts';
import { PathSocket, type PathTransport } from './path-socket.ts';
import type { PeerTransports } from './peer-transports.ts';
import type { PunchBudget } from './punch-budget.ts';
import { encodePunchSignal } from './punch-signal.ts';
import { Puncher, type PuncherOptions } from './puncher.ts';

export interface PeerPunchingComponents {
  network: Network;
  clock: Clock;
  random: Random;
  log: Log;
  checks: ConnectivityChecks;
  nat: NatWatch;
  budget: PunchBudget;
  memory: PairMemory;
  peerTransports: PeerTransports;
  transports(): readonly PathTransport[];
}

export interface PeerPunchingOptions extends Pick<PuncherOptions, 'hasDirect' | 'note'> {
  remotes(): readonly MeshCandidate[];
  /** False when the policy of the peer allows no direct path. */
  isAllowed(): boolean;
  tell(data: Uint8Array): void;
}

/** Plain checks have this long before hard NATs are attacked, ms. */
const PUNCH_AFTER_MS = 600;
/** Attacks in a row; further ones follow the schedule of other checks. */
const PUNCH_TRIES = 3;
const MAX_PROVEN = 64;

/** Decides when the hard NATs of one peer are attacked, and what the attack is given. */
export class PeerPunching {
  readonly puncher: Puncher;
  readonly #components: PeerPunchingComponents;
  readonly #options: PeerPunchingOptions;
  readonly #signal: AbortSignal;
  /** Addresses from which the peer has answered a signed check. */
  readonly #proven = new Set<string>();
  #running: Promise<void> | undefined;

  constructor(components: PeerPunchingComponents, options: PeerPunchingOptions, signal: AbortSignal) {
    this.#components = components;
    this.#options = options;
    this.#signal = signal;
    const { nat, checks, peerTransports } = components;
    this.puncher = new Puncher(
      components,
      {
        isControlling: checks.role === 'controlling',
        facts: () => nat.report,
        nat: () => {
          const { report, server } = nat;
          if (report?.mapped === undefined || server === undefined) return undefined;
          return { step: report.portStep ?? 0, address: report.mapped.address, server };
        },
        socket: () =>
          components.transports().find((each): each is PathSocket => each instanceof PathSocket && each.family === 4),
        targets: () => publicTargets(options.remotes()),
        isProven: (address) => this.#proven.has(address),
        hasDirect: () => options.hasDirect(),
        adopt: (socket) => peerTransports.adopt(socket),
        drop: (socket) => peerTransports.drop(socket),
        signal: (message) => options.tell(encodePunchSignal(message)),
        note: (what, label, reason) => options.note(what, label, reason),
      },
      signal,
    );
  }

  /** Says that the peer has answered a signed check from this address. */
  prove(address: string): void {
    this.#proven.add(address);
    const [oldest] = this.#proven;
    if (this.#proven.size > MAX_PROVEN && oldest !== undefined) this.#proven.delete(oldest);
  }

  /**
   * Attacks hard NATs when plain checks had their time.
   * @returns what has to end before the paths are closed; undefined when an attack is under way already, or none may help.
   */
  later(): Promise<void> | undefined {
    if (this.#running !== undefined || !this.#options.isAllowed() || this.puncher.plan === undefined) return undefined;
    this.#running = this.#punch()
      .catch(() => {})
      .finally(() => {
        this.#running = undefined;
      });
    return this.#running;
  }

  async #punch(): Promise<void> {
    const { clock, budget } = this.#components;
    await clock.sleep(this.puncher.isPromising ? 0 : PUNCH_AFTER_MS, this.#signal);
    for (let tries = 0; tries < PUNCH_TRIES && !this.#options.hasDirect(); tries++) {
      await this.puncher.attempt();
      if (!this.#options.hasDirect()) await clock.sleep(budget.waitMs('open') + PUNCH_AFTER_MS, this.#signal);
    }
  }
}

/** Public addresses that a peer's NAT has given it, or that it has itself. */
function publicTargets(remotes: readonly MeshCandidate[]): Endpoint[] {
  return remotes
    .filter(({ type, endpoint }) => type !== 'relayed' && addressFamily(endpoint.address) === 4)
    .filter(({ endpoint }) => !isPrivateAddress(endpoint.address))
    .map(({ endpoint }) => endpoint);
}
