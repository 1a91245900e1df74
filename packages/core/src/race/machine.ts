/** The life of one attempt. */
export type AttemptState = 'pending' | 'running' | 'success' | 'failed' | 'cancelled';

/** State of a candidate. */
export interface RaceEntry {
  readonly id: string;
  /** Candidates of one kind are staggered among themselves; kinds run side by side. */
  readonly kind: string;
  /** Lower is better. After a win, only strictly better attempts may go on. */
  readonly rank: number;
  readonly state: AttemptState;
  /** It was taken back: also its late success is undone. */
  readonly withdrawn?: boolean;
}

export interface KindSchedule {
  readonly name: string;
  readonly staggerMs: number;
  /** The kind's next candidate starts at this time, ms since the race began. */
  readonly nextAtMs: number;
}

/**
 * - `racing`: no attempt has succeeded yet
 * - `settling`: an attempt has just succeeded; attempts of the same rank continue for a short time, and better ones
 * - `improving`: an attempt succeeded, better attempts continue
 * - `over`: nothing runs any more
 */
export type RacePhase = 'racing' | 'settling' | 'improving' | 'over';

export interface RaceState {
  readonly phase: RacePhase;
  readonly entries: readonly RaceEntry[];
  readonly kinds: readonly KindSchedule[];
  /** No more candidates will come. */
  readonly sealed: boolean;
  /** Somebody takes further paths: after a win, better-ranked attempts go on, and late paths are handed over. */
  readonly collect: boolean;
  /** After a win, attempts of the same rank go on for this long, ms. */
  readonly settleMs: number;
  /** When that time ends, ms since the race began. */
  readonly settlesAtMs: number | undefined;
  readonly winner: string | undefined;
  /** The race was aborted: nobody takes paths any more. */
  readonly aborted: boolean;
}

export type LossReason = 'all-failed' | 'limit' | 'abort';

/** Times are ms since the race began. */
export type RaceEvent =
  | { readonly type: 'add'; readonly entries: readonly Omit<RaceEntry, 'state'>[]; readonly atMs: number }
  | { readonly type: 'seal'; readonly atMs: number }
  | { readonly type: 'tick'; readonly atMs: number }
  | { readonly type: 'succeeded'; readonly id: string; readonly atMs: number }
  | { readonly type: 'failed'; readonly id: string; readonly atMs: number }
  /** The candidate is not valid any more. */
  | { readonly type: 'withdraw'; readonly id: string; readonly atMs: number }
  | { readonly type: 'stop'; readonly reason: 'limit' | 'abort'; readonly atMs: number };

export type RaceEffect =
  | { readonly type: 'start'; readonly id: string }
  /** Abort the attempt; it was running. */
  | { readonly type: 'cancel'; readonly id: string }
  /** The path of the attempt is not needed any more: close it. */
  | { readonly type: 'undo'; readonly id: string }
  | { readonly type: 'failed'; readonly id: string }
  | { readonly type: 'won'; readonly id: string }
  /** A further path after the first one. */
  | { readonly type: 'found'; readonly id: string }
  | { readonly type: 'lost'; readonly reason: LossReason }
  /** Send a `tick` at this time. The last one given counts. */
  | { readonly type: 'wake'; readonly atMs: number }
  | { readonly type: 'over' };

export interface PathKindOptions {
  /** Head start that the other kinds have over this one, ms. */
  delayMs: number;
  /** Time between two candidates of the kind, ms; the next one starts at once when one fails (RFC 8305 §5). */
  staggerMs: number;
}

/**
 * @param collect somebody takes the paths that come after the first
 * @param settleMs after a win, attempts of the same rank go on for this long, ms
 */
export function initialRace(collect: boolean, settleMs = 0): RaceState {
  return {
    phase: 'racing',
    entries: [],
    kinds: [],
    sealed: false,
    collect,
    settleMs,
    settlesAtMs: undefined,
    winner: undefined,
    aborted: false,
  };
}

/** The race as a pure function: exactly one `won` or one `lost`, then one `over`, whatever the order of events. */
export function stepRace(
  state: RaceState,
  event: RaceEvent,
  kindOptions: (kind: string) => PathKindOptions,
): { state: RaceState; effects: RaceEffect[] } {
  if (state.phase === 'over') return afterTheEnd(state, event);
  const effects: RaceEffect[] = [];
  const settled = settle(state, event, effects);
  const next = apply(settled, event, kindOptions, effects);
  return { state: conclude(startDue(next, event.atMs, effects), event, effects), effects };
}

function afterTheEnd(state: RaceState, event: RaceEvent): { state: RaceState; effects: RaceEffect[] } {
  if (event.type === 'withdraw') return { state: setWithdrawn(state, event.id), effects: [] };
  if (event.type !== 'succeeded') return { state, effects: [] };
  return { state, effects: [lateEffect(state, event.id)] };
}

/** A path that comes although its attempt was cancelled is worth as much as another, where somebody takes it. */
function lateEffect(state: RaceState, id: string): RaceEffect {
  const entry = state.entries.find((other) => other.id === id);
  const wanted = state.collect && state.winner !== undefined && !state.aborted && entry && !entry.withdrawn;
  return { type: wanted ? 'found' : 'undo', id };
}

/** Ends the settling time: from now on only better attempts go on. One that ends with this event is not cancelled. */
function settle(state: RaceState, event: RaceEvent, effects: RaceEffect[]): RaceState {
  if (state.phase !== 'settling' || state.settlesAtMs === undefined || event.atMs < state.settlesAtMs) return state;
  const best = bestRank(state);
  const ended = event.type === 'succeeded' || event.type === 'failed' ? event.id : undefined;
  return cancelWhere(
    { ...state, phase: 'improving', settlesAtMs: undefined },
    ({ id, rank }) => rank >= best && id !== ended,
    effects,
  );
}

function apply(
  state: RaceState,
  event: RaceEvent,
  kindOptions: (kind: string) => PathKindOptions,
  effects: RaceEffect[],
): RaceState {
  switch (event.type) {
    case 'add':
      return addEntries(state, event.entries, event.atMs, kindOptions);
    case 'seal':
      return { ...state, sealed: true };
    case 'tick':
      return state;
    case 'failed':
      return failed(state, event.id, event.atMs, effects);
    case 'succeeded':
      return succeeded(state, event.id, event.atMs, effects);
    case 'withdraw':
      return cancelWhere(setWithdrawn(state, event.id), ({ id }) => id === event.id, effects);
    case 'stop': {
      const stopped = cancelWhere(state, () => true, effects);
      if (state.phase === 'racing') effects.push({ type: 'lost', reason: event.reason });
      return { ...stopped, phase: 'over', aborted: event.reason === 'abort' };
    }
    default:
      return event satisfies never;
  }
}

function addEntries(
  state: RaceState,
  added: readonly Omit<RaceEntry, 'state'>[],
  atMs: number,
  kindOptions: (kind: string) => PathKindOptions,
): RaceState {
  const known = new Set(state.entries.map((entry) => entry.id));
  const best = bestRank(state);
  const entries = [...state.entries];
  const kinds = [...state.kinds];
  for (const entry of added) {
    if (known.has(entry.id)) continue;
    known.add(entry.id);
    const wanted = state.phase === 'racing' || entry.rank < best || (state.phase === 'settling' && entry.rank === best);
    entries.push({ ...entry, state: wanted ? 'pending' : 'cancelled' });
    if (kinds.some((kind) => kind.name === entry.kind)) continue;
    const { delayMs, staggerMs } = kindOptions(entry.kind);
    kinds.push({ name: entry.kind, staggerMs, nextAtMs: Math.max(atMs, delayMs) });
  }
  return { ...state, entries, kinds };
}

function failed(state: RaceState, id: string, atMs: number, effects: RaceEffect[]): RaceState {
  const entry = state.entries.find((other) => other.id === id);
  if (entry?.state !== 'running') return state;
  effects.push({ type: 'failed', id });
  const kinds = state.kinds.map((kind) => (kind.name === entry.kind ? { ...kind, nextAtMs: atMs } : kind));
  return { ...setState(state, id, 'failed'), kinds };
}

function succeeded(state: RaceState, id: string, atMs: number, effects: RaceEffect[]): RaceState {
  const entry = state.entries.find((other) => other.id === id);
  if (entry?.state !== 'running') {
    effects.push(lateEffect(state, id));
    return state;
  }
  const next = setState(state, id, 'success');
  if (state.phase !== 'racing') {
    effects.push({ type: 'found', id });
    const worst = state.phase === 'settling' ? entry.rank + 1 : entry.rank;
    return cancelWhere(next, ({ rank }) => rank >= worst, effects);
  }
  effects.push({ type: 'won', id });
  if (!state.collect) return cancelWhere({ ...next, phase: 'improving', winner: id }, () => true, effects);
  const settling = state.settleMs > 0;
  const won: RaceState = {
    ...next,
    phase: settling ? 'settling' : 'improving',
    winner: id,
    settlesAtMs: settling ? atMs + state.settleMs : undefined,
  };
  return cancelWhere(won, ({ rank }) => (settling ? rank > entry.rank : rank >= entry.rank), effects);
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
  let wakeAtMs = state.settlesAtMs ?? Number.POSITIVE_INFINITY;
  const kinds = state.kinds.map((kind) => {
    let { nextAtMs } = kind;
    for (;;) {
      const index = entries.findIndex((entry) => entry.kind === kind.name && entry.state === 'pending');
      const entry = entries[index];
      if (entry === undefined) break;
      if (nextAtMs > atMs) {
        wakeAtMs = Math.min(wakeAtMs, nextAtMs);
        break;
      }
      entries = entries.with(index, { ...entry, state: 'running' });
      effects.push({ type: 'start', id: entry.id });
      nextAtMs += kind.staggerMs;
    }
    return nextAtMs === kind.nextAtMs ? kind : { ...kind, nextAtMs };
  });
  if (wakeAtMs !== Number.POSITIVE_INFINITY) effects.push({ type: 'wake', atMs: wakeAtMs });
  return { ...state, entries, kinds };
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
  if (state.collect && !state.sealed) return state;
  effects.push({ type: 'over' });
  return { ...state, phase: 'over' };
}

function setState(state: RaceState, id: string, to: AttemptState): RaceState {
  return { ...state, entries: state.entries.map((entry) => (entry.id === id ? { ...entry, state: to } : entry)) };
}

function setWithdrawn(state: RaceState, id: string): RaceState {
  return {
    ...state,
    entries: state.entries.map((entry) => (entry.id === id ? { ...entry, withdrawn: true } : entry)),
  };
}

/** The best rank that has succeeded. */
function bestRank(state: RaceState): number {
  return Math.min(...state.entries.filter((entry) => entry.state === 'success').map(({ rank }) => rank));
}
