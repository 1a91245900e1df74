import type { PathHealth } from './monitor.ts';
import type { PathKind } from './path-kind.ts';
import { PathReason } from './path-reason.ts';

/** Which kinds of path a target may be reached over. */
export type PathPolicy = 'auto' | 'direct-only' | 'relay-only' | 'lan-only';

/** Input of the selection for one verified path. */
export interface PathFacts {
  /** Unique within the set. */
  readonly id: string;
  readonly kind: PathKind;
  /** Address family; an IPv6 path needs no NAT mapping. */
  readonly family: 4 | 6;
  readonly health: PathHealth;
  /** Smoothed round trip, ms; undefined before the first measurement. */
  readonly rttMs: number | undefined;
  /** Variation of the round trip (RFC 6298), ms. */
  readonly rttVariationMs: number | undefined;
  /** Share of the probes that were lost, 0 to 1. */
  readonly lossRatio: number;
  /** What it leaves from and goes to: paths that share an end may fail together. */
  readonly ends?: readonly [local: string, remote: string] | undefined;
  /** It answers probes and loses the data: it is used only where every other path does so too. */
  readonly losesData?: boolean | undefined;
  /** It leaves over another uplink than the default route. */
  readonly furtherUplink?: boolean | undefined;
}

export interface SelectionOptions {
  /** @default 'auto' */
  readonly policy?: PathPolicy | undefined;
  /** What the remote end permits, where it tells: a path is used that both permit. @default 'auto' */
  readonly peerPolicy?: PathPolicy | undefined;
  /** 2: every datagram is sent on the standby as well. @default 1 */
  readonly redundancy?: 1 | 2 | undefined;
  /**
   * False where idle paths are the rule: one that is only `stale` is not in doubt, and what is sent first on it is probed at once.
   * @default true
   */
  readonly alsoWhenStale?: boolean | undefined;
  /** How many verified paths are kept besides the current one. @default 1 */
  readonly standbys?: number | undefined;
  /** False while the control plane is away: then the relay is not changed for speed. @default true */
  readonly relayMayChange?: boolean;
  /**
   * Where both ends agree on the relay: the place of a relayed path in what was agreed. Those below 1 are over the relay to use,
   * the least first. Then the rank decides between relayed paths, and a difference in speed does not.
   */
  readonly relayRank?: ((id: string) => number) | undefined;
  /**
   * Where the remote end decides between direct paths (RFC 8445 §8): the one that it uses. It is used as long as it works, and
   * none replaces it for speed.
   */
  readonly nominated?: string | undefined;
}

/** The outcome of {@link selectPaths}; the next call takes it as the state before. */
export interface Selection {
  readonly current: string | undefined;
  /** The first of the paths that are kept for a failure of the current one. */
  readonly standby: string | undefined;
  /** Every path that is kept besides the current one, best first; `standby` is the first of them. */
  readonly standbys: readonly string[];
  /** Paths that are left: they are closed when their data has been delivered. */
  readonly draining: readonly string[];
  /** Where every datagram is sent besides the current path. */
  readonly alsoSendOn: string | undefined;
  /** Why `current` differs from the selection before; undefined when it does not. */
  readonly reason: PathReason | undefined;
  /** Last change for speed, `Clock.now` ms; minus infinity when there was none. */
  readonly fasterAtMs: number;
  /** The change for speed before that. */
  readonly fasterBeforeMs: number;
  /** Last change to a nominated path, `Clock.now` ms; minus infinity when there was none. */
  readonly nominatedAtMs: number;
}

export const noSelection: Selection = {
  current: undefined,
  standby: undefined,
  standbys: [],
  draining: [],
  alsoSendOn: undefined,
  reason: undefined,
  fasterAtMs: Number.NEGATIVE_INFINITY,
  fasterBeforeMs: Number.NEGATIVE_INFINITY,
  nominatedAtMs: Number.NEGATIVE_INFINITY,
};

/** Constants of the choice; see {@link SELECTION}. */
export interface SelectionConstants {
  /** A direct path replaces another when it is this much faster, ms (iroh). */
  readonly directGainMs: number;
  /** An IPv6 path counts as this much faster than it is, ms (iroh). */
  readonly ipv6BonusMs: number;
  /** A path over a further uplink counts as this much slower than it is, ms: the kernel cannot always carry it. */
  readonly furtherUplinkMs: number;
  /** A relay replaces another when it is this much faster, ms … (tailscale) */
  readonly relayGainMs: number;
  /** … and takes at most this share of the old one's round trip (tailscale). */
  readonly relayGainRatio: number;
  /** What losing every probe would cost, ms: a lost packet is repeated after 200 ms at the soonest. */
  readonly lossCostMs: number;
  /** This much loss is within the noise of the smoothed ratio and costs nothing; what is above it costs. */
  readonly ignoredLossRatio: number;
  /** A change for speed comes no sooner after the change for speed before, nor one to a nominated path after one, ms. */
  readonly holdMs: number;
  /** In this time there are two changes for speed at most, ms: two paths that are nearly alike do not take turns. */
  readonly twoChangesMs: number;
}

/** docs/protocol/connectivity.md, "Path selection". */
export const SELECTION: SelectionConstants = {
  directGainMs: 5,
  ipv6BonusMs: 3,
  furtherUplinkMs: 10,
  relayGainMs: 10,
  relayGainRatio: 2 / 3,
  lossCostMs: 200,
  ignoredLossRatio: 0.1,
  holdMs: 3_000,
  twoChangesMs: 60_000,
};

/**
 * Chooses among verified paths. A current path is kept unless it is dead, gone or not allowed, or another is better by
 * more than the hysteresis: direct before relayed, then by round trip and loss.
 *
 * @param paths every path of the target that is not closed, in any order
 * @param previous the selection before; {@link noSelection} at first
 * @param nowMs `Clock.now` ms
 */
export function selectPaths(
  paths: readonly PathFacts[],
  previous: Selection,
  options: SelectionOptions,
  nowMs: number,
): Selection {
  const { redundancy = 1, standbys: keep = 1, alsoWhenStale = true, policy = 'auto', peerPolicy = 'auto' } = options;
  const leaving = new Set(previous.draining);
  const usable = paths
    .filter(({ health, id }) => health !== 'dead' && !leaving.has(id))
    .filter(({ kind }) => policyAllows(policy, kind) && policyAllows(peerPolicy, kind))
    .toSorted((a, b) => comparePaths(a, b, options.relayRank));
  const before = paths.find(({ id }) => id === previous.current);
  const { current, reason } = chooseCurrent(usable, before, previous, options, nowMs);
  const suspect = current !== undefined && current.health !== 'good' && current.health !== 'stale';
  const others = usable
    .filter((path) => path !== current)
    .toSorted((a, b) => compareTrust(a, b) || sharedEnds(a, current) - sharedEnds(b, current));
  // A suspect path needs somewhere to go, also in a set that keeps no standby.
  const kept = others.slice(0, suspect ? Math.max(1, keep) : keep);
  // One that cannot be followed yet is kept until it can: the remote end does not nominate it again.
  const nominated = others.find((path) => isNominated(path, options));
  if (nominated !== undefined && !kept.includes(nominated)) kept.push(nominated);
  const [standby] = kept;
  const both = redundancy === 2 || suspect || (alsoWhenStale && current?.health === 'stale');
  return {
    current: current?.id,
    standby: standby?.id,
    standbys: kept.map(({ id }) => id),
    // A path that loses data is kept to be tried again.
    draining: paths.filter((path) => path !== current && !kept.includes(path) && !path.losesData).map(({ id }) => id),
    alsoSendOn: both ? standby?.id : undefined,
    reason,
    fasterAtMs: reason === PathReason.faster ? nowMs : previous.fasterAtMs,
    fasterBeforeMs: reason === PathReason.faster ? previous.fasterAtMs : previous.fasterBeforeMs,
    nominatedAtMs: reason === PathReason.nominated ? nowMs : previous.nominatedAtMs,
  };
}

/** True when `policy` lets data go over paths of `kind`. */
export function policyAllows(policy: PathPolicy, kind: PathKind): boolean {
  switch (policy) {
    case 'auto':
      return true;
    case 'direct-only':
      return kind !== 'relay';
    case 'relay-only':
      return kind === 'relay';
    case 'lan-only':
      return kind === 'lan';
    default:
      return policy satisfies never;
  }
}

function chooseCurrent(
  usable: readonly PathFacts[],
  before: PathFacts | undefined,
  previous: Selection,
  options: SelectionOptions,
  nowMs: number,
): { current: PathFacts | undefined; reason: PathReason | undefined } {
  const [best] = usable;
  if (before === undefined || !usable.includes(before)) {
    return { current: best, reason: best && leaveReason(before, previous) };
  }
  // A suspect path stays current until it is dead: the standby carries the data meanwhile.
  const challengers = usable.filter((path) => path !== before && isTrusted(path));
  const [other] = challengers;
  if (before.losesData && other) return { current: other, reason: PathReason.dataLost };
  const nominated = challengers.find((path) => isNominated(path, options));
  const direct = before.kind === 'relay' ? (nominated ?? challengers.find(({ kind }) => kind !== 'relay')) : undefined;
  if (direct) return { current: direct, reason: PathReason.direct };
  // The remote end may nominate without end; each change costs a move of the data plane.
  const mayFollow = nowMs - previous.nominatedAtMs >= SELECTION.holdMs;
  if (nominated && mayFollow) return { current: nominated, reason: PathReason.nominated };
  if (nominated || isNominated(before, options)) return { current: before, reason: undefined };
  const { relayRank } = options;
  if (before.kind === 'relay' && relayRank !== undefined) {
    const below = Math.min(1, relayRank(before.id));
    const agreed = challengers.find(({ id }) => relayRank(id) < below);
    return { current: agreed ?? before, reason: agreed && PathReason.agreed };
  }
  const held =
    nowMs - previous.fasterAtMs < SELECTION.holdMs || nowMs - previous.fasterBeforeMs < SELECTION.twoChangesMs;
  const faster = held ? undefined : challengers.find((path) => isFaster(path, before, options));
  return faster ? { current: faster, reason: PathReason.faster } : { current: before, reason: undefined };
}

function isNominated({ id, kind }: PathFacts, { nominated }: SelectionOptions): boolean {
  return kind !== 'relay' && id === nominated;
}

function leaveReason(before: PathFacts | undefined, previous: Selection): PathReason {
  if (previous.current === undefined) return PathReason.first;
  if (before === undefined) return PathReason.closed;
  return before.health === 'dead' ? PathReason.probesLost : PathReason.policy;
}

function isTrusted({ health, losesData = false }: PathFacts): boolean {
  return (health === 'good' || health === 'stale') && !losesData;
}

/** Better by more than the hysteresis and by more than the round trips vary by themselves. */
function isFaster(path: PathFacts, current: PathFacts, { relayMayChange = true }: SelectionOptions): boolean {
  if ((path.kind === 'relay') !== (current.kind === 'relay')) return false;
  const [cost, currentCost] = [costMs(path), costMs(current)];
  if (cost === undefined || currentCost === undefined) return false;
  // A direct path between two hosts of one LAN that leaves the LAN depends on its router, and takes the router's time.
  if (path.kind === 'lan' && current.kind !== 'lan') return cost <= currentCost;
  const noiseMs = Math.max(path.rttVariationMs ?? 0, current.rttVariationMs ?? 0);
  if (path.kind !== 'relay') return currentCost - cost >= Math.max(SELECTION.directGainMs, noiseMs);
  if (!relayMayChange) return false;
  const gainMs = Math.max(SELECTION.relayGainMs, noiseMs);
  return currentCost - cost >= gainMs && cost <= currentCost * SELECTION.relayGainRatio;
}

/** Round trip with what loss adds to it, ms; undefined while nothing is measured. */
function costMs({ rttMs, lossRatio, family, furtherUplink = false }: PathFacts): number | undefined {
  if (rttMs === undefined) return undefined;
  const loss = Math.max(0, lossRatio - SELECTION.ignoredLossRatio);
  const uplinkMs = furtherUplink ? SELECTION.furtherUplinkMs : 0;
  return Math.max(0, rttMs - (family === 6 ? SELECTION.ipv6BonusMs : 0)) + uplinkMs + loss * SELECTION.lossCostMs;
}

/** Order of preference without regard to the path in use: trusted, direct, agreed, fast, in the LAN. */
function comparePaths(a: PathFacts, b: PathFacts, relayRank: SelectionOptions['relayRank']): number {
  const trust = compareTrust(a, b);
  if (trust !== 0) return trust;
  const direct = Number(a.kind === 'relay') - Number(b.kind === 'relay');
  if (direct !== 0) return direct;
  const agreed = a.kind === 'relay' && relayRank !== undefined ? relayRank(a.id) - relayRank(b.id) : 0;
  if (agreed !== 0) return agreed;
  const cost = (costMs(a) ?? Number.MAX_VALUE) - (costMs(b) ?? Number.MAX_VALUE);
  const lan = Number(b.kind === 'lan') - Number(a.kind === 'lan');
  return cost || lan || compareText(a.id, b.id);
}

function compareTrust(a: PathFacts, b: PathFacts): number {
  return Number(isTrusted(b)) - Number(isTrusted(a));
}

/**
 * A standby is better the less it has in common with the path that it replaces. A relayed path counts as one that shares an
 * end: it is not better than a direct one over another uplink.
 */
function sharedEnds({ ends, kind }: PathFacts, current: PathFacts | undefined): number {
  const other = current?.ends;
  if (ends === undefined || other === undefined) return 0;
  const shared = Number(ends[0] === other[0]) + Number(ends[1] === other[1]);
  return kind === 'relay' ? Math.max(1, shared) : shared;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
