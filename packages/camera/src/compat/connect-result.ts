import { type AttemptReport, errorMessage, type PathKind, type RaceReport } from '@towpath/core';
import type { PpppSession } from '@towpath/pppp';
import type { CameraRaceResult, RaceFailure, RaceSuccess } from '../connect/camera-race.ts';
import { THREAD_NAMES } from '../connect/defaults.ts';
import { ConnectionMode, type ConnectionThreadName, ConnectionThreadState } from './connection-mode.ts';

/** What one connection thread did. */
export interface ThreadSocketInfo {
  mode: ConnectionMode;
  state: ConnectionThreadState;
  /** Local port of the winning socket, else of the last one; null while none was bound. */
  port: number | null;
  /** Number of attempts, one per destination port tried. */
  retries: number;
  /** Seconds from the first attempt to the last; null when there was none. */
  elapsed: number | null;
  /** Why it failed, in one line. */
  error: string | null;
}

export type ThreadsInfo = Record<ConnectionThreadName, ThreadSocketInfo>;

/** What both results have. As in the documents: `const { success, info } = await manager.connectParallel()`. */
abstract class Result {
  /** Seconds. */
  readonly elapsedTime: number;
  readonly threadsInfo: ThreadsInfo;
  /** Every attempt, in the order in which they were added. */
  readonly report: RaceReport;

  constructor({ ok, report, kinds }: CameraRaceResult, relayError: string | undefined) {
    this.elapsedTime = report.elapsedMs / 1_000;
    this.threadsInfo = threadsInfo(report, kinds, !ok);
    this.report = report;
    const relay = this.threadsInfo[THREAD_NAMES.relay];
    if (relayError !== undefined && relay.state === ConnectionThreadState.FAILED) relay.error = relayError;
  }
}

/** The camera was reached. */
export class ConnectSuccess extends Result {
  readonly success = true as const;
  readonly mode: ConnectionMode;
  /** Local port of the winning socket. */
  readonly port: number;
  /** The camera's port. */
  readonly destinationPort: number;
  readonly winningThread: ConnectionThreadName;
  /** The open session; the holder of the result closes it. */
  readonly session: PpppSession;

  constructor(result: RaceSuccess, relayError?: string) {
    super(result, relayError);
    const { kind, session } = result;
    this.mode = kind;
    this.port = session.local.port;
    this.destinationPort = session.peer.port;
    this.winningThread = THREAD_NAMES[kind];
    this.session = session;
  }

  /** This result. */
  get info(): this {
    return this;
  }
}

/** The camera was not reached. */
export class ConnectFailure extends Result {
  readonly success = false as const;
  /** Why, in one line with the next step. */
  readonly error: string;

  constructor(result: RaceFailure, relayError?: string) {
    super(result, relayError);
    this.error = relayError === undefined ? result.error : `${relayError} ${result.error}`;
  }

  /** This result. */
  get info(): this {
    return this;
  }
}

export type ConnectResult = ConnectSuccess | ConnectFailure;

/**
 * Returns a race's result in the form of the documents.
 * @param relayError why there was no relay to try
 */
export function connectResult(result: CameraRaceResult, relayError?: string): ConnectResult {
  return result.ok ? new ConnectSuccess(result, relayError) : new ConnectFailure(result, relayError);
}

/** Sums up the attempts of each path kind. `over` means that the race ended without a success. */
function threadsInfo(report: RaceReport, enabled: ReadonlySet<PathKind>, over: boolean): ThreadsInfo {
  const info = (kind: PathKind) =>
    threadInfo(
      kind,
      enabled.has(kind),
      report.attempts.filter((attempt) => attempt.kind === kind),
      over,
    );
  return {
    [THREAD_NAMES.p2p]: info('p2p'),
    [THREAD_NAMES.lan]: info('lan'),
    [THREAD_NAMES.relay]: info('relay'),
  } as ThreadsInfo;
}

function threadInfo(
  mode: PathKind,
  enabled: boolean,
  attempts: readonly AttemptReport[],
  over: boolean,
): ThreadSocketInfo {
  if (!enabled) {
    return { mode, state: ConnectionThreadState.NOT_STARTED, port: null, retries: 0, elapsed: null, error: null };
  }
  const started = attempts.filter(({ startedAtMs }) => startedAtMs !== undefined);
  const winner = attempts.find(({ state }) => state === 'success');
  const state = threadState(attempts, over);
  const bound = started.filter(({ localPort }) => localPort !== undefined).at(-1);
  const first = Math.min(...started.map(({ startedAtMs = 0 }) => startedAtMs));
  const last = Math.max(...started.map(({ startedAtMs = 0, elapsedMs = 0 }) => startedAtMs + elapsedMs));
  return {
    mode,
    // An attempt counts as running only when its socket is bound, so that a running one always has a port.
    state: state === ConnectionThreadState.RUNNING && bound === undefined ? ConnectionThreadState.PENDING : state,
    port: winner?.localPort ?? bound?.localPort ?? null,
    retries: started.length,
    elapsed: started.length === 0 ? null : (last - first) / 1_000,
    error: state === ConnectionThreadState.FAILED ? failureOf(mode, attempts) : null,
  };
}

function threadState(attempts: readonly AttemptReport[], over: boolean): ConnectionThreadState {
  const states = new Set(attempts.map(({ state }) => state));
  if (states.has('success')) return ConnectionThreadState.SUCCESS;
  if (over) return ConnectionThreadState.FAILED;
  if (states.has('running')) return ConnectionThreadState.RUNNING;
  if (states.has('pending')) return ConnectionThreadState.PENDING;
  return states.has('cancelled') ? ConnectionThreadState.CANCELLED : ConnectionThreadState.FAILED;
}

function failureOf(mode: ConnectionMode, attempts: readonly AttemptReport[]): string {
  if (attempts.length === 0) {
    const need = mode === ConnectionMode.RELAY ? 'add rendezvous servers' : 'add at least one port';
    return `No candidates. Next: ${need}.`;
  }
  const reasons = new Map<string, string[]>();
  for (const { error, label, startedAtMs } of attempts) {
    const silence = startedAtMs === undefined ? 'not reached in time' : 'no answer before the time limit';
    const reason = error === undefined ? silence : errorMessage(error);
    reasons.set(reason, [...(reasons.get(reason) ?? []), label]);
  }
  return [...reasons].map(([reason, labels]) => `${labels.join(', ')}: ${reason}`).join('; ');
}
