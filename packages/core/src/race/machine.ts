/** The life of one attempt. */
export type AttemptState = 'pending' | 'running' | 'success' | 'failed' | 'cancelled';

/** What the machine knows of a candidate. */
export interface RaceEntry {
  readonly id: string;
  /** Candidates of one lane are staggered among themselves; lanes run side by side. */
  readonly lane: string;
  /** Lower is better. After a win, only strictly better attempts may go on. */
  readonly rank: number;
  readonly state: AttemptState;
}

export interface LaneState {
  readonly name: string;
  readonly staggerMs: number;
  /** The lane's next candidate starts at this time, ms since the race began. */
  readonly nextAtMs: number;
}

/**
 * - `racing`: nobody has won yet
 * - `improving`: somebody won, better attempts go on
 * - `over`: nothing runs any more
 */
export type RacePhase = 'racing' | 'improving' | 'over';

export interface RaceState {
  readonly phase: RacePhase;
  readonly entries: readonly RaceEntry[];
  readonly lanes: readonly LaneState[];
  /** No more candidates will come. */
  readonly sealed: boolean;
  /** After a win, let better-ranked attempts go on. */
  readonly improve: boolean;
  readonly winner: string | undefined;
}

export type LossReason = 'all-failed' | 'limit' | 'abort';

/** Times are ms since the race began. */
export type RaceEvent =
  | { readonly type: 'add'; readonly entries: readonly Omit<RaceEntry, 'state'>[]; readonly atMs: number }
  | { readonly type: 'seal'; readonly atMs: number }
  | { readonly type: 'tick'; readonly atMs: number }
  | { readonly type: 'succeeded'; readonly id: string; readonly atMs: number }
  | { readonly type: 'failed'; readonly id: string; readonly atMs: number }
  | { readonly type: 'stop'; readonly reason: 'limit' | 'abort'; readonly atMs: number };

export type RaceEffect =
  | { readonly type: 'start'; readonly id: string }
  /** Abort the attempt; it was running. */
  | { readonly type: 'cancel'; readonly id: string }
  /** The attempt brought a path that nobody wants any more: close it. */
  | { readonly type: 'undo'; readonly id: string }
  | { readonly type: 'failed'; readonly id: string }
  | { readonly type: 'won'; readonly id: string }
  /** A better path than the last one, while improving. */
  | { readonly type: 'better'; readonly id: string }
  | { readonly type: 'lost'; readonly reason: LossReason }
  /** Send a `tick` at this time. The last one given counts. */
  | { readonly type: 'wake'; readonly atMs: number }
  | { readonly type: 'over' };

export interface LaneOptions {
  /** Head start that the other lanes have over this one, ms. */
  delayMs: number;
  /** Time between two candidates of the lane, ms; the next one starts at once when one fails (RFC 8305 §5). */
  staggerMs: number;
}

export function initialRace(improve: boolean): RaceState {
  return { phase: 'racing', entries: [], lanes: [], sealed: false, improve, winner: undefined };
}

/** The race as a pure function: exactly one `won` or one `lost`, then one `over`, whatever the order of events. */
export function stepRace(
  state: RaceState,
  event: RaceEvent,
  laneOptions: (lane: string) => LaneOptions,
): { state: RaceState; effects: RaceEffect[] } {
  if (state.phase === 'over') {
    return { state, effects: event.type === 'succeeded' ? [{ type: 'undo', id: event.id }] : [] };
  }
  const effects: RaceEffect[] = [];
  const next = apply(state, event, laneOptions, effects);
  return { state: conclude(startDue(next, event.atMs, effects), event, effects), effects };
}

function apply(
  state: RaceState,
  event: RaceEvent,
  laneOptions: (lane: string) => LaneOptions,
  effects: RaceEffect[],
): RaceState {
  switch (event.type) {
    case 'add':
      return addEntries(state, event.entries, event.atMs, laneOptions);
    case 'seal':
      return { ...state, sealed: true };
    case 'tick':
      return state;
    case 'failed':
      return failed(state, event.id, event.atMs, effects);
    case 'succeeded':
      return succeeded(state, event.id, effects);
    case 'stop': {
      const stopped = cancelWhere(state, () => true, effects);
      if (state.phase === 'racing') effects.push({ type: 'lost', reason: event.reason });
      return { ...stopped, phase: 'over' };
    }
    default:
      return event satisfies never;
  }
}

function addEntries(
  state: RaceState,
  added: readonly Omit<RaceEntry, 'state'>[],
  atMs: number,
  laneOptions: (lane: string) => LaneOptions,
): RaceState {
  const known = new Set(state.entries.map((entry) => entry.id));
  const best = bestRank(state);
  const entries = [...state.entries];
  const lanes = [...state.lanes];
  for (const entry of added) {
    if (known.has(entry.id)) continue;
    known.add(entry.id);
    const wanted = state.phase === 'racing' || entry.rank < best;
    entries.push({ ...entry, state: wanted ? 'pending' : 'cancelled' });
    if (lanes.some((lane) => lane.name === entry.lane)) continue;
    const { delayMs, staggerMs } = laneOptions(entry.lane);
    lanes.push({ name: entry.lane, staggerMs, nextAtMs: Math.max(atMs, delayMs) });
  }
  return { ...state, entries, lanes };
}

function failed(state: RaceState, id: string, atMs: number, effects: RaceEffect[]): RaceState {
  const entry = state.entries.find((other) => other.id === id);
  if (entry?.state !== 'running') return state;
  effects.push({ type: 'failed', id });
  const lanes = state.lanes.map((lane) => (lane.name === entry.lane ? { ...lane, nextAtMs: atMs } : lane));
  return { ...setState(state, id, 'failed'), lanes };
}

function succeeded(state: RaceState, id: string, effects: RaceEffect[]): RaceState {
  const entry = state.entries.find((other) => other.id === id);
  if (entry?.state !== 'running') {
    effects.push({ type: 'undo', id });
    return state;
  }
  effects.push(state.phase === 'racing' ? { type: 'won', id } : { type: 'better', id });
  const won: RaceState = { ...setState(state, id, 'success'), phase: 'improving', winner: id };
  return cancelWhere(won, (other) => !state.improve || other.rank >= entry.rank, effects);
}

function cancelWhere(state: RaceState, unwanted: (entry: RaceEntry) => boolean, effects: RaceEffect[]): RaceState {
  const entries = state.entries.map((entry): RaceEntry => {
    if ((entry.state !== 'pending' && entry.state !== 'running') || !unwanted(entry)) return entry;
    if (entry.state === 'running') effects.push({ type: 'cancel', id: entry.id });
    return { ...entry, state: 'cancelled' };
  });
  return { ...state, entries };
}

function startDue(state: RaceState, atMs: number, effects: RaceEffect[]): RaceState {
  if (state.phase === 'over') return state;
  let { entries } = state;
  let wakeAtMs = Number.POSITIVE_INFINITY;
  const lanes = state.lanes.map((lane) => {
    let { nextAtMs } = lane;
    for (;;) {
      const index = entries.findIndex((entry) => entry.lane === lane.name && entry.state === 'pending');
      const entry = entries[index];
      if (entry === undefined) break;
      if (nextAtMs > atMs) {
        wakeAtMs = Math.min(wakeAtMs, nextAtMs);
        break;
      }
      entries = entries.with(index, { ...entry, state: 'running' });
      effects.push({ type: 'start', id: entry.id });
      nextAtMs += lane.staggerMs;
    }
    return nextAtMs === lane.nextAtMs ? lane : { ...lane, nextAtMs };
  });
  if (wakeAtMs !== Number.POSITIVE_INFINITY) effects.push({ type: 'wake', atMs: wakeAtMs });
  return { ...state, entries, lanes };
}

function conclude(state: RaceState, event: RaceEvent, effects: RaceEffect[]): RaceState {
  if (event.type === 'stop') {
    effects.push({ type: 'over' });
    return state;
  }
  const busy = state.entries.some((entry) => entry.state === 'pending' || entry.state === 'running');
  if (busy) return state;
  if (state.phase === 'racing') {
    if (!state.sealed) return state;
    effects.push({ type: 'lost', reason: 'all-failed' }, { type: 'over' });
    return { ...state, phase: 'over' };
  }
  if (state.improve && !state.sealed) return state;
  effects.push({ type: 'over' });
  return { ...state, phase: 'over' };
}

function setState(state: RaceState, id: string, to: AttemptState): RaceState {
  return { ...state, entries: state.entries.map((entry) => (entry.id === id ? { ...entry, state: to } : entry)) };
}

function bestRank(state: RaceState): number {
  const winner = state.entries.find((entry) => entry.id === state.winner);
  return winner === undefined ? Number.POSITIVE_INFINITY : winner.rank;
}
