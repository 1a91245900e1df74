import { RateLimit, SparseSet } from '@towpath/core';
import { addressFamily, type Endpoint, isPrivateAddress } from '@towpath/net';
import type { ConnectivityChecks, NatFacts } from '@towpath/stun';
import type { MeshCandidate } from './candidate-signal.ts';
import { PathSocket } from './path-socket.ts';
import type { PeerTransports } from './peer-transports.ts';
import { encodePunchSignal, type PunchSignal } from './punch-signal.ts';
import { Puncher, type PuncherOptions } from './puncher.ts';
import type { SharedByPeers } from './shared-by-peers.ts';

export interface PeerPunchingComponents {
  shared: SharedByPeers;
  checks: ConnectivityChecks;
  peerTransports: PeerTransports;
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
const NO_TARGETS: readonly string[] = [];
/** A journey begins with some changes of the network soon after each other. */
const MOVES = { perSecond: 1 / 60, burst: 3 };

/** Decides when the hard NATs of one peer are attacked, and tells the attack what it needs to know. */
export class PeerPunching implements PuncherOptions {
  readonly puncher: Puncher;
  readonly isControlling: boolean;
  readonly #components: PeerPunchingComponents;
  readonly #options: PeerPunchingOptions;
  readonly #signal: AbortSignal;
  /** Addresses from which the peer has answered a signed check. */
  readonly #proven = new SparseSet<string>();
  /** Changes of the peer's network that let the next attack begin at once: the peer says what it likes. */
  readonly #moves: RateLimit;
  #targets: readonly string[] = NO_TARGETS;
  #running: Promise<void> | undefined;

  constructor(components: PeerPunchingComponents, options: PeerPunchingOptions, signal: AbortSignal) {
    this.#components = components;
    this.#options = options;
    this.#signal = signal;
    const { shared, checks } = components;
    this.isControlling = checks.role === 'controlling';
    this.#moves = new RateLimit(shared, MOVES);
    this.puncher = new Puncher({ shared, checks }, this, signal);
  }

  facts(): NatFacts | undefined {
    return this.#components.shared.nat.report;
  }

  nat(): { step: number; address: string; server: Endpoint } | undefined {
    const { report, server, isCurrent } = this.#components.shared.nat;
    if (!isCurrent || report?.mapped === undefined || server === undefined) return undefined;
    return { step: report.portStep ?? 0, address: report.mapped.address, server };
  }

  socket(): PathSocket | undefined {
    const transports = this.#components.shared.transports();
    return transports.find((each): each is PathSocket => each instanceof PathSocket && each.family === 4);
  }

  targets(): readonly Endpoint[] {
    return publicTargets(this.#options.remotes());
  }

  isProven(address: string): boolean {
    return this.#proven.has(address);
  }

  hasDirect(): boolean {
    return this.#options.hasDirect();
  }

  adopt(socket: PathSocket): void {
    this.#components.peerTransports.adopt(socket);
  }

  drop(socket: PathSocket): void {
    this.#components.peerTransports.drop(socket);
  }

  signal(message: PunchSignal): void {
    this.#options.tell(encodePunchSignal(message));
  }

  note(...entry: Parameters<PuncherOptions['note']>): void {
    this.#options.note(...entry);
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
    const addresses = [...new Set(this.targets().map(({ address }) => address))];
    // Between two networks it has none.
    if (addresses.length === 0) return;
    const before = this.#targets;
    this.#targets = addresses;
    if (before.length === 0 || addresses.some((address) => before.includes(address))) return;
    this.interrupt();
    if (this.#moves.take()) this.#components.shared.budget.renew();
  }

  async #punch(): Promise<void> {
    for (let isOver = false; !isOver; ) {
      const signal = this.puncher.untilInterrupted;
      await this.#tries(signal).catch(() => {});
      isOver = this.#signal.aborted || !signal.aborted;
    }
  }

  async #tries(signal: AbortSignal): Promise<void> {
    const { clock, budget } = this.#components.shared;
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
