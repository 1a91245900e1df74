import type { PathSet } from '@towpath/core';
import { type Endpoint, formatEndpoint, sameEndpoint } from '@towpath/net';
import { RelayAgreement, type RelayAgreementOptions } from '../relays/relay-agreement.ts';
import { isWorthMoving } from '../relays/relay-choice.ts';
import type { RelayKey } from '../relays/relay-key.ts';
import type { RelayFigure } from '../relays/relay-signal.ts';
import type { MeshPath } from './mesh-path.ts';
import type { PairSecrets } from './pair-secrets.ts';
import type { PathTransport } from './path-socket.ts';
import type { SharedByPeers } from './shared-by-peers.ts';

export interface PeerRelaysComponents {
  shared: SharedByPeers;
  /** Sends a signal to the peer; it may be lost. */
  send(data: Uint8Array): void;
  paths(): PathSet<MeshPath>;
}

export interface PeerRelaysOptions {
  secrets: PairSecrets;
  controlling: boolean;
  /** True for relayed addresses of the peer. */
  isRelayed(remote: Endpoint): boolean;
  /** Checks the peer's candidates on these relays. */
  check(through: (key: RelayKey) => boolean): void;
  /** The pair has agreed anew: paths are chosen anew, and {@link PeerRelays.takeWanted} may tell further relays. */
  onChange(): void;
}

/** The relays of one pair: the agreement on them and what it needs to know, and which paths go through which relay. */
export class PeerRelays implements RelayAgreementOptions {
  readonly agreement: RelayAgreement;
  readonly #components: PeerRelaysComponents;
  readonly #options: PeerRelaysOptions;
  #wantedBefore = '';

  constructor(components: PeerRelaysComponents, options: PeerRelaysOptions) {
    this.#components = components;
    this.#options = options;
    const { shared, send } = components;
    this.agreement = new RelayAgreement({ clock: shared.clock, random: shared.random, send }, this);
  }

  get pair(): string {
    const { localUfrag, remoteUfrag } = this.#options.secrets;
    return [localUfrag, remoteUfrag].toSorted().join(' ');
  }

  get offers(): boolean {
    return this.#options.controlling;
  }

  figures(): readonly RelayFigure[] {
    return this.#components.shared.relayFigures();
  }

  isRelayed(): boolean {
    const { current } = this.#components.paths();
    return current === undefined || current.kind === 'relay';
  }

  isVerified(key: RelayKey): boolean {
    const paths = this.#components.paths().status();
    return paths.some(({ path, kind, health }) => kind === 'relay' && health !== 'dead' && this.of(path) === key);
  }

  onChange(): void {
    this.#options.onChange();
  }

  /** The relay of a path; undefined for a direct one. */
  of(path: MeshPath | undefined): RelayKey | undefined {
    if (path?.kind !== 'relay') return undefined;
    const { transport, remote } = path;
    return transport.relayKey ?? this.agreement.relayOf(remote) ?? this.#components.shared.relayAt(remote.address);
  }

  /** See {@link RelayAgreement.rank}; in between for a path whose place another one over the same relay takes. */
  rank(path: MeshPath | undefined): number {
    const place = this.agreement.rank(this.of(path));
    return path !== undefined && this.#isReplaceable(path) ? place + 0.5 : place;
  }

  /** Over a relayed address that one of the ends is about to release, or over two relays in a row. */
  #isReplaceable({ kind, transport, remote }: MeshPath): boolean {
    if (kind !== 'relay') return false;
    if (transport.relay !== undefined) return transport.isReplaced === true || this.#options.isRelayed(remote);
    const key = this.#components.shared.relayAt(remote.address);
    const told = key === undefined ? undefined : this.agreement.relayedAt(key);
    return told !== undefined && !sameEndpoint(told, remote);
  }

  /** A path has died, or data is lost on it: see {@link RelayAgreement.failed}. */
  lost(path: MeshPath): void {
    const key = this.of(path);
    if (key === undefined) return;
    const paths = this.#components.paths();
    // The relay carries the data over another relayed address of the same end: over TCP, say, where UDP fails.
    const isCarried = paths.status().some(({ path: other, kind, health, losesData }) => {
      if (kind !== 'relay' || health !== 'good' || losesData || this.of(other) !== key) return false;
      return isOwn(other) === isOwn(path) && !sameEndpoint(relayedOf(other), relayedOf(path));
    });
    // The other end must not agree on a relay that this end does not use.
    if (!isCarried) this.agreement.failed(key, paths.avoidedMs(path));
  }

  /**
   * Data over the current path takes `rttMs` there and back. The relay may delay it and answer by itself at once, so that its
   * figures do not tell. It is left when the checks over another one are answered sooner by the margin of a choice.
   */
  slow(rttMs: number): void {
    const paths = this.#components.paths();
    const key = this.of(paths.current);
    if (key === undefined) return;
    const isBetter = paths.status().some(({ path, health, rttMs: otherMs, losesData }) => {
      const other = this.of(path);
      if (other === undefined || other === key || !this.agreement.isCommon(other)) return false;
      return health === 'good' && !losesData && otherMs !== undefined && isWorthMoving(rttMs, otherMs);
    });
    if (isBetter) this.agreement.failed(key);
  }

  /** The path is in doubt, or lost: the relays that may replace it are asked, and paths through them checked, at once. */
  verifyOthers(path: MeshPath): void {
    const own = this.of(path);
    const isOther = (key: RelayKey) => key !== own;
    this.#components.shared.onRelaysNeeded(isOther);
    this.#options.check(isOther);
  }

  /** The relays that are wanted, when they, or the peer's addresses on them, have changed since the last call. */
  takeWanted(): readonly RelayKey[] | undefined {
    const { wanted } = this.agreement;
    const addresses = wanted.map((key) => this.agreement.relayedAt(key));
    const text = wanted.map((key, at) => `${key} ${addresses[at] && formatEndpoint(addresses[at])}`).join();
    if (text === this.#wantedBefore) return undefined;
    this.#wantedBefore = text;
    return wanted;
  }

  /**
   * With an allocation of each end on one relay there are two paths through it. Both ends use the controlled end's alone:
   * the kernel carries a path whose two directions are the same. True for the other one while there is this one.
   */
  isMirror(transport: PathTransport, remote: Endpoint): boolean {
    const isOwn = transport.relay !== undefined;
    if (isOwn !== this.#options.controlling) return false;
    // A path over one relay is better than one over two in a row.
    return this.#across(transport, remote).some((path) => isOwn || !this.#options.isRelayed(path.remote));
  }

  /** The paths that are {@link isMirror} as soon as there is this one. */
  mirrorsOf({ transport, remote }: MeshPath): MeshPath[] {
    const isOwn = transport.relay !== undefined;
    // One through two relays in a row takes no other's place.
    if (isOwn === this.#options.controlling || (isOwn && this.#options.isRelayed(remote))) return [];
    return this.#across(transport, remote);
  }

  /** Paths over the same relay that use the other end's allocation there. */
  #across(transport: PathTransport, remote: Endpoint): MeshPath[] {
    const isOwn = transport.relay !== undefined;
    if (!isOwn && !this.#options.isRelayed(remote)) return [];
    const relay = isOwn ? transport.local.address : remote.address;
    const others = this.#components.paths().status();
    return others.flatMap(({ path, health }) => {
      const isOthersOwn = path.transport.relay !== undefined;
      const other = isOthersOwn ? path.local.address : path.remote.address;
      return path.kind === 'relay' && isOthersOwn !== isOwn && other === relay && health !== 'dead' ? [path] : [];
    });
  }
}

function isOwn({ transport }: MeshPath): boolean {
  return transport.relay !== undefined;
}

/** The relayed address of a path over a relay. */
function relayedOf(path: MeshPath): Endpoint {
  return isOwn(path) ? path.local : path.remote;
}
