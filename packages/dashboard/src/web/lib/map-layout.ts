/** One peer as the map places it. */
export interface MapPeer {
  readonly id: string;
  readonly name: string;
  /** Undefined while it is not reached. */
  readonly latencyMs: number | undefined;
  readonly reached: boolean;
  /** The relay that its packets take; undefined of a direct path. */
  readonly relay: string | undefined;
}

export interface MapRelay {
  readonly id: string;
  readonly latencyMs: number | undefined;
}

export interface Placed<T> {
  readonly item: T;
  readonly x: number;
  readonly y: number;
  /** Radians, clockwise from the top. */
  readonly angle: number;
}

export interface MapLayout {
  /** Half of the map's width and height. The centre, which is this node, is (0, 0). */
  readonly halfWidth: number;
  readonly halfHeight: number;
  /** Radii of {@link RING_MS}. */
  readonly rings: readonly number[];
  /** Where peers without a path are. */
  readonly rim: number;
  readonly peers: readonly Placed<MapPeer>[];
  readonly relays: readonly Placed<MapRelay>[];
  /** Whether there is room for names. */
  readonly labelled: boolean;
}

const HALF_WIDTH = 336;
const HALF_HEIGHT = 322;
const NEAREST = 84;
const FARTHEST = 246;
const RIM = 272;
/** What takes longer is placed as this. */
const SLOWEST_MS = 500;
/** Latencies that are marked with a circle. */
export const RING_MS: readonly number[] = [10, 50, 200];
const MAX_LABELLED = 28;

/**
 * Places peers around this node: the distance is the latency on a logarithmic scale, the direction follows the names, so
 * that a peer moves only towards or away from the centre. Peers behind one relay are neighbours, and the relay stands
 * between them and the centre.
 */
export function layOutMap(peers: readonly MapPeer[], relays: readonly MapRelay[]): MapLayout {
  const sorted = [...peers].sort(
    (a, b) => compareText(a.relay ?? '', b.relay ?? '') || compareText(a.name, b.name) || compareText(a.id, b.id),
  );
  const step = (2 * Math.PI) / Math.max(1, sorted.length);
  const placed = sorted.map((item, index) => {
    const radius = item.reached ? radiusOf(item.latencyMs) : RIM;
    return at(item, radius, index * step);
  });
  return {
    halfWidth: HALF_WIDTH,
    halfHeight: HALF_HEIGHT,
    rings: RING_MS.map((ms) => radiusOf(ms)),
    rim: RIM,
    peers: placed,
    relays: relays.flatMap((relay) => placeRelay(relay, placed)),
    labelled: peers.length <= MAX_LABELLED,
  };
}

function placeRelay(relay: MapRelay, peers: readonly Placed<MapPeer>[]): Placed<MapRelay>[] {
  const users = peers.filter(({ item }) => item.relay === relay.id && item.reached);
  if (users.length === 0) return [];
  const x = users.reduce((sum, { angle }) => sum + Math.sin(angle), 0);
  const y = users.reduce((sum, { angle }) => sum - Math.cos(angle), 0);
  const nearest = Math.min(...users.map((user) => Math.hypot(user.x, user.y)));
  // Between the centre and its peers, wherever its own latency would put it.
  const radius = Math.min(radiusOf(relay.latencyMs), nearest * 0.72);
  return [at(relay, radius, Math.atan2(x, -y))];
}

/** Distance from the centre of a latency. */
export function radiusOf(latencyMs: number | undefined): number {
  const ms = Math.min(SLOWEST_MS, Math.max(0, latencyMs ?? SLOWEST_MS));
  return NEAREST + ((FARTHEST - NEAREST) * Math.log1p(ms)) / Math.log1p(SLOWEST_MS);
}

function at<T>(item: T, radius: number, angle: number): Placed<T> {
  return { item, angle, x: round(radius * Math.sin(angle)), y: round(-radius * Math.cos(angle)) };
}

const round = (value: number): number => Math.round(value * 10) / 10;

/** By code unit: the same order in every browser. */
function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
