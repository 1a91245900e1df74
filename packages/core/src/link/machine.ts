/**
 * - `idle`: not started
 * - `connecting`: a try is running
 * - `waiting`: between two tries
 * - `up`: there is a path
 * - `failed`: the tries are used up; slow tries may go on behind it
 * - `closed`: over for good
 */
export type LinkPhase = 'idle' | 'connecting' | 'waiting' | 'up' | 'failed' | 'closed';

export interface LinkState {
  readonly phase: LinkPhase;
  /** Tries of the current round, the running one included. */
  readonly tries: number;
  /** There was a path before: the round is a reconnect. */
  readonly wasUp: boolean;
  /** Something has changed while a try was running: when it fails, the next one follows at once. */
  readonly refreshed: boolean;
}

export type LinkEvent =
  | { readonly type: 'start' }
  /** There is a current path, whoever brought it. */
  | { readonly type: 'connected' }
  /** A try ended without a path. `delayMs` is the wait before the next try, undefined when none is left. */
  | { readonly type: 'try-failed'; readonly delayMs: number | undefined; readonly fatal: boolean }
  | { readonly type: 'timer' }
  /** There is no path any more. */
  | { readonly type: 'lost' }
  /** Something changed outside: the network, the signalling, a clock jump, a user's wish. */
  | { readonly type: 'refresh' }
  | { readonly type: 'close' };

export type LinkEffect =
  | { readonly type: 'connect' }
  | { readonly type: 'wait'; readonly delayMs: number }
  | { readonly type: 'stop-waiting' }
  /** The round of tries begins again: a fresh schedule of delays. */
  | { readonly type: 'new-round' }
  /** Probe every path at once, and look for a better one with a fresh schedule. */
  | { readonly type: 'check-paths' }
  | { readonly type: 'gave-up' }
  | { readonly type: 'release' };

export const initialLink: LinkState = { phase: 'idle', tries: 0, wasUp: false, refreshed: false };

/** The link as a pure function. */
export function stepLink(state: LinkState, event: LinkEvent): { state: LinkState; effects: LinkEffect[] } {
  if (state.phase === 'closed') return { state, effects: [] };
  switch (event.type) {
    case 'start':
      return state.phase === 'idle' ? beginRound(state) : unchanged(state);
    case 'connected':
      return connected(state);
    case 'try-failed':
      return tryFailed(state, event);
    case 'timer':
      return state.phase === 'waiting' || state.phase === 'failed' ? tryAgain(state) : unchanged(state);
    case 'lost':
      return state.phase === 'up' ? beginRound(state) : unchanged(state);
    case 'refresh':
      return refresh(state);
    case 'close':
      return {
        state: { ...state, phase: 'closed', refreshed: false },
        effects: [{ type: 'stop-waiting' }, { type: 'release' }],
      };
    default:
      return event satisfies never;
  }
}

function unchanged(state: LinkState): { state: LinkState; effects: LinkEffect[] } {
  return { state, effects: [] };
}

function connected(state: LinkState): { state: LinkState; effects: LinkEffect[] } {
  const effects: LinkEffect[] = state.phase === 'waiting' || state.phase === 'failed' ? [{ type: 'stop-waiting' }] : [];
  return { state: { phase: 'up', tries: 0, wasUp: true, refreshed: false }, effects };
}

function beginRound(state: LinkState): { state: LinkState; effects: LinkEffect[] } {
  return {
    state: { ...state, phase: 'connecting', tries: 1, refreshed: false },
    effects: [{ type: 'new-round' }, { type: 'connect' }],
  };
}

function tryAgain(state: LinkState): { state: LinkState; effects: LinkEffect[] } {
  return { state: { ...state, phase: 'connecting', tries: state.tries + 1 }, effects: [{ type: 'connect' }] };
}

function refresh(state: LinkState): { state: LinkState; effects: LinkEffect[] } {
  switch (state.phase) {
    case 'up':
      return { state, effects: [{ type: 'check-paths' }] };
    case 'connecting':
      return { state: { ...state, refreshed: true }, effects: [{ type: 'new-round' }] };
    case 'waiting':
    case 'failed': {
      const round = beginRound(state);
      return { state: round.state, effects: [{ type: 'stop-waiting' }, ...round.effects] };
    }
    default:
      return unchanged(state);
  }
}

function tryFailed(
  state: LinkState,
  { delayMs, fatal }: { delayMs: number | undefined; fatal: boolean },
): { state: LinkState; effects: LinkEffect[] } {
  if (state.phase !== 'connecting') return unchanged(state);
  if (state.refreshed && !fatal) return beginRound(state);
  if (fatal || delayMs === undefined) {
    return { state: { ...state, phase: 'failed', refreshed: false }, effects: [{ type: 'gave-up' }] };
  }
  return { state: { ...state, phase: 'waiting' }, effects: [{ type: 'wait', delayMs }] };
}
