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
}

export type LinkEvent =
  | { readonly type: 'start' }
  | { readonly type: 'connected' }
  /** A try ended without a path. `delayMs` is the wait before the next try, undefined when none is left. */
  | { readonly type: 'try-failed'; readonly delayMs: number | undefined; readonly fatal: boolean }
  | { readonly type: 'timer' }
  | { readonly type: 'lost' }
  /** Something changed outside (network back, user asked): try now and begin a new round. */
  | { readonly type: 'poke' }
  | { readonly type: 'close' };

export type LinkEffect =
  | { readonly type: 'connect' }
  | { readonly type: 'wait'; readonly delayMs: number }
  | { readonly type: 'stop-waiting' }
  /** The round of tries begins again: a fresh schedule of delays. */
  | { readonly type: 'new-round' }
  | { readonly type: 'gave-up' }
  | { readonly type: 'release' };

export const initialLink: LinkState = { phase: 'idle', tries: 0, wasUp: false };

/** The link as a pure function. */
export function stepLink(state: LinkState, event: LinkEvent): { state: LinkState; effects: LinkEffect[] } {
  if (state.phase === 'closed') return { state, effects: [] };
  switch (event.type) {
    case 'start':
      return state.phase === 'idle' ? beginRound(state) : { state, effects: [] };
    case 'connected':
      return { state: { phase: 'up', tries: 0, wasUp: true }, effects: [] };
    case 'try-failed':
      return tryFailed(state, event);
    case 'timer':
      return state.phase === 'waiting' || state.phase === 'failed' ? tryAgain(state) : { state, effects: [] };
    case 'lost':
      return state.phase === 'up' ? beginRound(state) : { state, effects: [] };
    case 'poke': {
      if (state.phase !== 'waiting' && state.phase !== 'failed') return { state, effects: [] };
      const round = beginRound(state);
      return { state: round.state, effects: [{ type: 'stop-waiting' }, ...round.effects] };
    }
    case 'close':
      return { state: { ...state, phase: 'closed' }, effects: [{ type: 'stop-waiting' }, { type: 'release' }] };
    default:
      return event satisfies never;
  }
}

function beginRound(state: LinkState): { state: LinkState; effects: LinkEffect[] } {
  return { state: { ...state, phase: 'connecting', tries: 1 }, effects: [{ type: 'new-round' }, { type: 'connect' }] };
}

function tryAgain(state: LinkState): { state: LinkState; effects: LinkEffect[] } {
  return { state: { ...state, phase: 'connecting', tries: state.tries + 1 }, effects: [{ type: 'connect' }] };
}

function tryFailed(
  state: LinkState,
  { delayMs, fatal }: { delayMs: number | undefined; fatal: boolean },
): { state: LinkState; effects: LinkEffect[] } {
  if (state.phase !== 'connecting') return { state, effects: [] };
  if (fatal || delayMs === undefined) {
    return { state: { ...state, phase: 'failed' }, effects: [{ type: 'gave-up' }] };
  }
  return { state: { ...state, phase: 'waiting' }, effects: [{ type: 'wait', delayMs }] };
}
