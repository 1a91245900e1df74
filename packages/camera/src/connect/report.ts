import { type AttemptReport, errorMessage, type RaceReport } from '@towpath/core';
import type { PpppSession } from '@towpath/pppp';
import { type ConnectionMode, WAY_NAMES, type WayName } from './way.ts';

export type WayState = 'not_started' | 'pending' | 'running' | 'success' | 'failed' | 'cancelled';

/** What became of one way. */
export interface WayInfo {
  mode: ConnectionMode;
  state: WayState;
  /** Local port of the way's own socket (the winner's, else the last one's); null only while none was bound. */
  port: number | null;
  /** Attempts that were started, one per destination port tried. */
  retries: number;
  /** Seconds from the way's first attempt to its last; null when it never ran. */
  elapsed: number | null;
  /** Why it failed, in one line. */
  error: string | null;
}

export type WaysInfo = Record<WayName, WayInfo>;

interface ResultBase {
  /** Seconds. */
  elapsedTime: number;
  threadsInfo: WaysInfo;
  /** Every attempt, in the order in which they were added. */
  report: RaceReport;
}

export interface ConnectSuccess extends ResultBase {
  success: true;
  mode: ConnectionMode;
  /** Local port of the winning socket. */
  port: number;
  /** The camera's port. */
  destinationPort: number;
  winningThread: WayName;
  /** The open session; whoever holds the result closes it. */
  session: PpppSession;
}

export interface ConnectFailure extends ResultBase {
  success: false;
  /** Why nothing was reached, in one line with the next step. */
  error: string;
}

export type ConnectResult = ConnectSuccess | ConnectFailure;

/** Sums the attempts of each way up. `over` says that the race has ended without a winner. */
export function waysInfo(report: RaceReport, enabled: ReadonlySet<ConnectionMode>, over: boolean): WaysInfo {
  const info = (mode: ConnectionMode) =>
    wayInfo(
      mode,
      enabled.has(mode),
      report.attempts.filter(({ lane }) => lane === mode),
      over,
    );
  return {
    [WAY_NAMES.p2p]: info('p2p'),
    [WAY_NAMES.lan]: info('lan'),
    [WAY_NAMES.relay]: info('relay'),
  } as WaysInfo;
}

function wayInfo(mode: ConnectionMode, enabled: boolean, attempts: readonly AttemptReport[], over: boolean): WayInfo {
  if (!enabled) return { mode, state: 'not_started', port: null, retries: 0, elapsed: null, error: null };
  const started = attempts.filter(({ startedAtMs }) => startedAtMs !== undefined);
  const winner = attempts.find(({ state }) => state === 'success');
  const state = wayState(attempts, over);
  const bound = started.filter(({ localPort }) => localPort !== undefined).at(-1);
  const first = Math.min(...started.map(({ startedAtMs = 0 }) => startedAtMs));
  const last = Math.max(...started.map(({ startedAtMs = 0, elapsedMs = 0 }) => startedAtMs + elapsedMs));
  return {
    mode,
    // An attempt is only called running once its socket is bound, so that a running way always has a port.
    state: state === 'running' && bound === undefined ? 'pending' : state,
    port: winner?.localPort ?? bound?.localPort ?? null,
    retries: started.length,
    elapsed: started.length === 0 ? null : (last - first) / 1_000,
    error: state === 'failed' ? failureOf(mode, attempts) : null,
  };
}

function wayState(attempts: readonly AttemptReport[], over: boolean): WayState {
  const states = new Set(attempts.map(({ state }) => state));
  if (states.has('success')) return 'success';
  if (over) return 'failed';
  if (states.has('running')) return 'running';
  if (states.has('pending')) return 'pending';
  return states.has('cancelled') ? 'cancelled' : 'failed';
}

function failureOf(mode: ConnectionMode, attempts: readonly AttemptReport[]): string {
  if (attempts.length === 0) {
    const need = mode === 'relay' ? 'name the rendezvous servers that know the camera' : 'give at least one port';
    return `There was nothing to try: ${need}.`;
  }
  const reasons = new Map<string, string[]>();
  for (const { error, label, startedAtMs } of attempts) {
    const silence = startedAtMs === undefined ? 'not reached in time' : 'no answer in time';
    const reason = error === undefined ? silence : errorMessage(error);
    reasons.set(reason, [...(reasons.get(reason) ?? []), label]);
  }
  return [...reasons].map(([reason, labels]) => `${labels.join(', ')}: ${reason}`).join('; ');
}
