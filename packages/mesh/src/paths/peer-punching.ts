import { type Clock, type Log, type Random, RateLimit } from '@towpath/core';
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
/** A journey begins with some changes of the network soon after each other. */
const MOVES = { perSecond: 1 / 60, burst: 3 };

/** Decides when the hard NATs of one peer are attacked, and what the attack is given. */
export class PeerPunching {
  readonly puncher: Puncher;
  readonly #components: PeerPunchingComponents;
  readonly #options: PeerPunchingOptions;
  readonly #signal: AbortSignal;
  /** Addresses from which the peer has answered a signed check. */
  readonly #proven = new Set<string>();
  /** Changes of the peer's network that let the next attack begin at once: the peer says what it likes. */
  readonly #moves: RateLimit;
  #targets: readonly string[] = [];
  #running: Promise<void> | undefined;

  constructor(components: PeerPunchingComponents, options: PeerPunchingOptions, signal: AbortSignal) {
    this.#components = components;
    this.#options = options;
    this.#signal = signal;
    this.#moves = new RateLimit(components, MOVES);
    const { nat, checks, peerTransports } = components;
    this.puncher = new Puncher(
      components,
      {
        isControlling: checks.role === 'controlling',
        facts: () => nat.report,
        nat: () => {
          const { report, server } = nat;
          if (!nat.isCurrent || report?.mapped === undefined || server === undefined) return undefined;
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
    if (this.#running !== undefined || !this.#options.isAllowed() || !this.puncher.isReady) return undefined;
    this.#running = this.#punch()
      .catch(() => {})
      .finally(() => {
        this.#running = undefined;
      });
    return this.#running;
  }

  /** The network has changed: an attack that is under way, or waited for, begins anew. */
  interrupt(): void {
    this.puncher.interrupt();
  }

  /** The peer has told its candidates: where its public addresses are others, an attack on the ones before is of no use. */
  remotesChanged(): void {
    const addresses = [...new Set(publicTargets(this.#options.remotes()).map(({ address }) => address))];
    // Between two networks it has none.
    if (addresses.length === 0) return;
    const before = this.#targets;
    this.#targets = addresses;
    if (before.length === 0 || addresses.some((address) => before.includes(address))) return;
    this.interrupt();
    if (this.#moves.take()) this.#components.budget.renew();
  }

  async #punch(): Promise<void> {
    for (let isOver = false; !isOver; ) {
      const signal = this.puncher.untilInterrupted;
      await this.#tries(signal).catch(() => {});
      isOver = this.#signal.aborted || !signal.aborted;
    }
  }

  async #tries(signal: AbortSignal): Promise<void> {
    const { clock, budget } = this.#components;
    await clock.sleep(this.puncher.isPromising ? 0 : PUNCH_AFTER_MS, signal);
    // Without a plan the NATs are not known yet; {@link later} is called again when they are.
    for (let tries = 0; tries < PUNCH_TRIES && this.puncher.isReady && !this.#options.hasDirect(); tries++) {
      await this.puncher.attempt();
      if (!this.#options.hasDirect()) await clock.sleep(budget.waitMs('open') + PUNCH_AFTER_MS, signal);
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
