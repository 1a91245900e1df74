import { RateLimit, SparseSet, TowpathError } from '@towpath/core';
import { addressFamily, type Endpoint, formatEndpoint, isPrivateAddress, sameEndpoint } from '@towpath/net';
import { type ConnectivityChecks, StunError, type VerifiedPath } from '@towpath/stun';
import { StunErrorCode } from '@towpath/stun/message';
import { MeshReason } from '../reason.ts';
import type { RelayAgreement } from '../relays/relay-agreement.ts';
import type { RelayKey } from '../relays/relay-key.ts';
import type { MeshCandidate } from './candidate-signal.ts';
import type { EarlyHandshake } from './early-handshake.ts';
import { labelOf } from './mesh-path.ts';
import type { PathLog } from './path-log.ts';
import { transportId } from './peer-transports.ts';
import type { PathTransport } from './path-socket.ts';
import type { SharedByPeers } from './shared-by-peers.ts';

export interface CandidateChecksComponents {
  shared: SharedByPeers;
  checks: ConnectivityChecks;
  agreement: Pick<RelayAgreement, 'relayOf'>;
  early: EarlyHandshake;
  log: PathLog;
}

export interface CandidateChecksOptions {
  /** True while there is a path of the pair. */
  has(transport: PathTransport, remote: Endpoint): boolean;
  onVerified(path: VerifiedPath): void;
  /** A check was not answered, or refused. */
  onFailed(transport: PathTransport, remote: Endpoint): void;
}

/** Permissions that relays are asked for: the requests of this node there are limited as well. */
const PERMISSIONS = { perSecond: 16, burst: 256 };

/** The candidates of one peer, and the checks of them from every transport of this machine. */
export class CandidateChecks {
  readonly #components: CandidateChecksComponents;
  readonly #options: CandidateChecksOptions;
  readonly #signal: AbortSignal;
  readonly #permissions: RateLimit;
  #remotes: readonly MeshCandidate[] = [];
  /** How often the peer has told other candidates than before. */
  #changes = 0;
  readonly #again = new SparseSet<string>();

  constructor(components: CandidateChecksComponents, options: CandidateChecksOptions, signal: AbortSignal) {
    this.#components = components;
    this.#options = options;
    this.#signal = signal;
    this.#permissions = new RateLimit(components.shared, PERMISSIONS);
  }

  /** What the peer told last. */
  get remotes(): readonly MeshCandidate[] {
    return this.#remotes;
  }

  /** Takes over the candidates of the peer; {@link all} checks them. */
  replace(candidates: readonly MeshCandidate[], isNewSession: boolean): void {
    const known = isNewSession ? [] : this.#remotes;
    const isSame = (one: MeshCandidate, other: MeshCandidate | undefined) =>
      other?.type === one.type && sameEndpoint(one.endpoint, other.endpoint);
    if (candidates.length !== known.length || !candidates.every((each, at) => isSame(each, known[at]))) this.#changes++;
    // A copy has no room for more than it holds.
    this.#remotes = candidates.slice();
    for (const { endpoint, type } of candidates) {
      if (!known.some((each) => sameEndpoint(each.endpoint, endpoint)))
        this.#components.log.note('candidate', formatEndpoint(endpoint), type);
    }
  }

  /** True when the peer told this endpoint. */
  has(endpoint: Endpoint): boolean {
    return this.#remotes.some((each) => sameEndpoint(each.endpoint, endpoint));
  }

  /** True for relayed addresses of the peer. */
  isRelayed(remote: Endpoint): boolean {
    const told = this.#remotes.find(({ endpoint }) => formatEndpoint(endpoint) === formatEndpoint(remote));
    return told?.type === 'relayed' || (told === undefined && this.#components.shared.isRelayAddress(remote.address));
  }

  /** Checks every candidate from every transport of its family, or from those through some relays alone. */
  all(through?: (key: RelayKey) => boolean): void {
    for (const candidate of this.#remotes) this.#check(candidate, through);
  }

  #check(candidate: MeshCandidate, through?: (key: RelayKey) => boolean): void {
    const { endpoint } = candidate;
    const { shared, agreement } = this.#components;
    if (shared.isInTunnel(endpoint.address)) return;
    const theirs = agreement.relayOf(endpoint);
    for (const transport of shared.transports()) {
      if (transport.family !== addressFamily(endpoint.address)) continue;
      const key = transport.relayKey ?? theirs;
      if (through !== undefined && (key === undefined || !through(key))) continue;
      // A relay does not reach private networks, and two relays in a row are only for networks that UDP does not leave.
      const hasUdp = shared.nat.report?.udp !== false && transport.isOverStream !== true;
      const pointless =
        transport.relay !== undefined &&
        (isPrivateAddress(endpoint.address) || (candidate.type === 'relayed' && hasUdp));
      if (!pointless) void this.#checkFrom(transport, endpoint);
    }
  }

  async #checkFrom(transport: PathTransport, remote: Endpoint): Promise<void> {
    const { checks, early, log } = this.#components;
    const { has, onVerified } = this.#options;
    const signal = this.#signal;
    const label = labelOf(transport, remote);
    const begunAt = this.#changes;
    if (transport.relay !== undefined && !this.#permissions.take()) return;
    try {
      await transport.prepare(remote, signal);
      if (has(transport, remote)) return;
      log.note('attempt', label, 'requested');
      const checked = checks.check(remote, { socket: transport.stun, signal });
      early.checked(transport, remote, signal);
      const result = await checked;
      // A path that was left stays verified for the checks, which then do not report it again.
      if (!result.ok) {
        log.note('failure', label, result.reason);
        this.#options.onFailed(transport, remote);
        if (begunAt !== this.#changes && this.has(remote)) await this.#checkAgain(transport, remote);
      } else if (!has(transport, remote)) onVerified(result.path);
    } catch (error) {
      if (signal.aborted) return;
      log.note('failure', label, failureOf(error));
      this.#options.onFailed(transport, remote);
    }
  }

  /**
   * The peer has told its candidates anew while this one was checked: a port may have been mapped there meanwhile, and of that check's
   * requests the last ones are far apart.
   */
  async #checkAgain(transport: PathTransport, remote: Endpoint): Promise<void> {
    const id = transportId(transport, remote);
    // Callers share a check, and see it fail at the same time.
    if (this.#again.has(id)) return;
    this.#again.add(id);
    try {
      await this.#checkFrom(transport, remote);
    } finally {
      this.#again.delete(id);
    }
  }
}

/** The code of what made a check fail before it was sent. */
function failureOf(error: unknown): string {
  if (error instanceof StunError && error.response?.code === StunErrorCode.Forbidden) return MeshReason.relayForbids;
  return error instanceof TowpathError ? error.code : 'unknown';
}
