/**
 * - `good`: heard within the trust window
 * - `stale`: not heard within the trust window, and no probe missed: an idle path
 * - `suspect`: probes were missed; the standby should carry the data as well
 * - `dead`: more probes were missed; the path is not used again
 */
export type PathHealth = 'good' | 'stale' | 'suspect' | 'dead';

/** What a path is used for; it decides how often the path is probed. */
export type PathRole = 'current' | 'standby' | 'draining';

/** Times of the suspicion machine, ms. docs/protocol/connectivity.md, "Suspicion". */
export interface MonitorTimes {
  /** Between two probes while the path is used, in the first {@link startMs} of its use. @default 1000 */
  startIntervalMs: number;
  /** @default 5000 */
  startMs: number;
  /** Between two probes while the path is used. @default 3000 */
  activeIntervalMs: number;
  /** Between two probes of a standby. @default 15000 */
  standbyIntervalMs: number;
  /** Between two probes of an idle current path. @default 30000 */
  idleIntervalMs: number;
  /** A path without data for this long is idle. @default 45000 */
  idleAfterMs: number;
  /** A path that was not heard for this long is `stale`. @default 6500 */
  trustMs: number;
  /** Data was sent, and nothing was heard for this long since: probe at once. @default 250 */
  unansweredMs: number;
  /** Least distance of two probes that unanswered data causes. @default 300 */
  unansweredSpacingMs: number;
  /** A probe is missed after `probeRoundTrips` round trips, within these bounds. @default 100 */
  minProbeLimitMs: number;
  /** @default 1000 */
  maxProbeLimitMs: number;
  /** The same for paths that are not current, which are probed rarely. @default 500 */
  minStandbyProbeLimitMs: number;
  /** @default 5000 */
  maxStandbyProbeLimitMs: number;
  /** @default 3 */
  probeRoundTrips: number;
  /** Probes missed in a row until the path is suspect; more on a path that loses packets anyway. @default 3 */
  suspectAfter: number;
  /** The same until a standby that has answered meanwhile replaces it. @default {@link deadAfter} */
  replaceAfter?: number | undefined;
  /** The same until it is dead, whatever else there is. @default 5 */
  deadAfter: number;
  /** Without an answer to a probe for so long, the path is dead whatever was heard on it (RFC 7675 §5.1). @default Infinity */
  consentMs: number;
  /**
   * Probe only after an interval in which nothing was heard, and take whatever is heard for the answer: a keep-alive,
   * which does not measure the path. @default false
   */
  onlyWhenSilent: boolean;
}

export const DEFAULT_MONITOR_TIMES: Readonly<MonitorTimes> = {
  startIntervalMs: 1_000,
  startMs: 5_000,
  activeIntervalMs: 3_000,
  standbyIntervalMs: 15_000,
  idleIntervalMs: 30_000,
  idleAfterMs: 45_000,
  trustMs: 6_500,
  unansweredMs: 250,
  unansweredSpacingMs: 300,
  minProbeLimitMs: 100,
  maxProbeLimitMs: 1_000,
  minStandbyProbeLimitMs: 500,
  maxStandbyProbeLimitMs: 5_000,
  probeRoundTrips: 3,
  suspectAfter: 3,
  deadAfter: 5,
  consentMs: Number.POSITIVE_INFINITY,
  onlyWhenSilent: false,
};

/**
 * Returns `times` with the defaults for what is missing; getters stay getters. Monitors share a complete object, so that where
 * there are many of them one is made for all.
 */
export function monitorTimes(times: Partial<MonitorTimes>): MonitorTimes {
  if (isComplete(times)) return times;
  return Object.defineProperties({ ...DEFAULT_MONITOR_TIMES }, Object.getOwnPropertyDescriptors(times));
}

function isComplete(times: Partial<MonitorTimes>): times is MonitorTimes {
  return Object.keys(DEFAULT_MONITOR_TIMES).every((name) => name in times);
}

/** Everything that is known of the liveness of one path. Times are `Clock.now` ms. */
export interface MonitorState {
  readonly health: PathHealth;
  readonly role: PathRole;
  /** Smoothed round trip and its variation (RFC 6298 §2), ms; undefined before the first answer. */
  readonly rttMs: number | undefined;
  readonly rttVariationMs: number | undefined;
  readonly measuredAtMs: number;
  /** The packets have taken another way since this probe: its round trip, and those of before it, tell nothing. */
  readonly movedAfterProbeId: number;
  /** No later probe was answered yet: the round trip is that of the way before. */
  readonly isOutdated: boolean;
  /** Share of the probes that were missed, 0 to 1, smoothed. */
  readonly lossRatio: number;
  /** Last time that anything authenticated arrived on the path. */
  readonly lastHeardAtMs: number;
  /** Since when the path is in use. */
  readonly activeSinceMs: number;
  /** Last time that it carried data. */
  readonly lastDataAtMs: number;
  /** First data sent since the path was heard; undefined when nothing awaits an answer. */
  readonly unansweredSinceMs: number | undefined;
  /** Probes missed in a row. */
  readonly missed: number;
  /** Probes missed since the last one that was answered, whatever was heard meanwhile. */
  readonly unanswered: number;
  /** When the first of {@link missed} was sent; undefined when none was missed. */
  readonly missedSinceMs: number | undefined;
  /** Number of the last probe. */
  readonly probeId: number;
  readonly lastProbeAtMs: number;
  /** The last probe is missed when it is not answered by then; undefined while none is awaited. */
  readonly probeLimitAtMs: number | undefined;
  /** Send the next probe no later than this. */
  readonly nextProbeAtMs: number;
}

export type MonitorEvent =
  | { readonly type: 'tick'; readonly atMs: number }
  /** The probe `probeId` was answered after `rttMs`. A late answer counts too. */
  | { readonly type: 'answered'; readonly probeId: number; readonly rttMs: number; readonly atMs: number }
  /** The probe could not be sent, or was refused: it is missed before its time. */
  | { readonly type: 'failed'; readonly probeId: number; readonly atMs: number }
  /**
   * Something authenticated arrived that shows that the remote end hears this one: an answer, an acknowledgement, data
   * of a conversation; `data` when it was more than a keep-alive.
   */
  | { readonly type: 'heard'; readonly data: boolean; readonly atMs: number }
  /** Data that the remote end answers in some way was sent. */
  | { readonly type: 'sent'; readonly data: boolean; readonly atMs: number }
  | { readonly type: 'role'; readonly role: PathRole; readonly atMs: number }
  /** Probe at once: the network has changed, or the current path became suspect. */
  | { readonly type: 'wake'; readonly atMs: number }
  /** The packets take another way from now on: round trips of before tell nothing of it. */
  | { readonly type: 'moved'; readonly atMs: number }
  /** The remote end suspects the path: it is suspect here too, unless a probe is answered now. */
  | { readonly type: 'doubt'; readonly atMs: number };

export type MonitorEffect =
  | { readonly type: 'probe'; readonly probeId: number }
  | { readonly type: 'health'; readonly health: PathHealth }
  /** Send a `tick` at this time. The last one given counts; without one no tick is needed. */
  | { readonly type: 'wake'; readonly atMs: number };

/** Newest probe's share in the smoothed loss. */
const LOSS_SMOOTHING = 1 / 16;
/**
 * What a path's own loss explains is no sign of its end: as many probes must be missed in a row that so much loss causes it
 * with this probability at most.
 */
const CHANCE = { suspect: 0.05, replace: 1e-3, dead: 1e-4, dataLost: 1e-3 } as const;
/** Of the probability that one probe is lost: above it, a path is hardly usable. */
const MAX_LOSS = 0.6;
/** However steady the round trips were, an answer may come so much later: the machines are busy. */
const MIN_VARIATION_MS = 50;
/** A round trip less than half as long begins anew when so much time has passed since the one before, s. */
const RELIEF_AFTER_S = 5;
/** Largest share of one sample in the smoothed round trip. */
const MAX_SAMPLE_SHARE = 1 / 2;

/** A path that was verified at `atMs`. `rttMs` is the round trip of its handshake, where that was measured. */
export function initialMonitor(atMs: number, role: PathRole, rttMs?: number): MonitorState {
  return {
    health: 'good',
    role,
    rttMs,
    rttVariationMs: rttMs === undefined ? undefined : rttMs / 2,
    measuredAtMs: atMs,
    movedAfterProbeId: 0,
    isOutdated: false,
    lossRatio: 0,
    lastHeardAtMs: atMs,
    activeSinceMs: atMs,
    lastDataAtMs: atMs,
    unansweredSinceMs: undefined,
    missed: 0,
    unanswered: 0,
    missedSinceMs: undefined,
    probeId: 0,
    lastProbeAtMs: Number.NEGATIVE_INFINITY,
    probeLimitAtMs: undefined,
    nextProbeAtMs: atMs,
  };
}

/** How long an answer to a probe is awaited, ms: so long that the next probe leaves soon after the answer was due. */
export function probeLimitMs(
  { rttMs, rttVariationMs = 0, role }: Pick<MonitorState, 'rttMs' | 'rttVariationMs' | 'role'>,
  times: MonitorTimes,
): number {
  const [minMs, maxMs] =
    role === 'current'
      ? [times.minProbeLimitMs, times.maxProbeLimitMs]
      : [times.minStandbyProbeLimitMs, times.maxStandbyProbeLimitMs];
  if (rttMs === undefined) return maxMs;
  // RFC 6298, section 2.3, where the round trip is known well.
  const expectedMs = role === 'current' ? rttMs + Math.max(MIN_VARIATION_MS, 4 * rttVariationMs) : maxMs;
  return Math.min(maxMs, Math.max(minMs, Math.min(times.probeRoundTrips * rttMs, expectedMs)));
}

/**
 * Tells whether so many probes were missed in a row that a standby which answers takes over; before the path is dead, because
 * the answer of the other path shows that it is not this machine or the remote one that is slow.
 */
export function isReplaceable(state: MonitorState, times: MonitorTimes): boolean {
  const { replaceAfter = times.deadAfter } = times;
  return state.missed >= missesFor(state, replaceAfter, CHANCE.replace, times);
}

/** Tells whether the loss that the probes have measured explains that so much data was lost in a row. */
export function isLossExplained({ lossRatio }: MonitorState, lostInARow: number): boolean {
  return Math.min(MAX_LOSS, lossRatio) ** lostInARow > CHANCE.dataLost;
}

/** How many probes must be missed in a row: `least`, or more on a path that lost packets before. */
function missesFor({ missed, lossRatio }: MonitorState, least: number, chance: number, times: MonitorTimes): number {
  // Keep-alives do not measure the loss.
  if (times.onlyWhenSilent) return least;
  // The loss before these probes were missed, each of which has added to it.
  const before = 1 - (1 - lossRatio) / (1 - LOSS_SMOOTHING) ** missed;
  if (before <= 0) return least;
  return Math.max(least, Math.ceil(Math.log(chance) / Math.log(Math.min(MAX_LOSS, before))));
}

/** The suspicion machine as a pure function: probe, missed, suspect, dead. */
export function stepMonitor(
  state: MonitorState,
  event: MonitorEvent,
  times: MonitorTimes = DEFAULT_MONITOR_TIMES,
): { state: MonitorState; effects: MonitorEffect[] } {
  if (state.health === 'dead') return { state, effects: [] };
  const effects: MonitorEffect[] = [];
  const probed = probeIfDue(apply(state, event, times), event.atMs, times, effects);
  const health = healthOf(probed, event.atMs, times);
  if (health !== state.health) effects.push({ type: 'health', health });
  const next = { ...probed, health };
  const wakeAtMs = nextWakeMs(next, event.atMs, times);
  if (wakeAtMs !== undefined) effects.push({ type: 'wake', atMs: wakeAtMs });
  return { state: next, effects };
}

function apply(state: MonitorState, event: MonitorEvent, times: MonitorTimes): MonitorState {
  const { atMs } = event;
  switch (event.type) {
    case 'tick':
      return missIfLate(state, atMs);
    case 'answered':
      return answered(state, event, times);
    case 'failed':
      return event.probeId === state.probeId && state.probeLimitAtMs !== undefined
        ? missed(state, state.probeLimitAtMs)
        : state;
    case 'heard':
      return event.data ? used(heard(state, atMs, times), atMs, times) : heard(state, atMs, times);
    case 'sent': {
      const next = event.data ? used(state, atMs, times) : state;
      return { ...next, unansweredSinceMs: next.unansweredSinceMs ?? atMs };
    }
    case 'role':
      return event.role === state.role
        ? state
        : { ...state, role: event.role, activeSinceMs: atMs, nextProbeAtMs: atMs };
    case 'wake':
      return woken(state, atMs, times);
    case 'moved':
      return { ...state, movedAfterProbeId: state.probeId, isOutdated: true, nextProbeAtMs: atMs };
    case 'doubt':
      return doubted(state, atMs, times);
    default:
      return event satisfies never;
  }
}

function doubted(state: MonitorState, atMs: number, times: MonitorTimes): MonitorState {
  const missed = Math.max(state.missed, missesFor(state, times.suspectAfter, CHANCE.suspect, times));
  return { ...state, missed, missedSinceMs: state.missedSinceMs ?? atMs, nextProbeAtMs: atMs };
}

/**
 * The answer to an old probe of a standby is awaited for as long as that of a path in use from now on: it may have been sent when
 * the other end was away.
 */
function woken(state: MonitorState, atMs: number, times: MonitorTimes): MonitorState {
  const { role, lastProbeAtMs, probeLimitAtMs } = state;
  const next = { ...state, nextProbeAtMs: atMs };
  if (role === 'current' || probeLimitAtMs === undefined) return next;
  const limitAtMs = lastProbeAtMs + probeLimitMs({ ...state, role: 'current' }, times);
  return missIfLate({ ...next, probeLimitAtMs: Math.min(probeLimitAtMs, limitAtMs) }, atMs);
}

function missIfLate(state: MonitorState, atMs: number): MonitorState {
  return state.probeLimitAtMs !== undefined && atMs >= state.probeLimitAtMs ? missed(state, atMs) : state;
}

/**
 * A missed probe is followed by the next one at once. After a probe that could not even be sent, the next waits until
 * the answer would have been due: an error of the local machine may be over by then.
 */
function missed(state: MonitorState, nextProbeAtMs: number): MonitorState {
  // The probe was lost, but the path is alive: something was heard since the probe left.
  const isAlive = state.lastHeardAtMs > state.lastProbeAtMs;
  return {
    ...state,
    missed: isAlive ? 0 : state.missed + 1,
    unanswered: state.unanswered + 1,
    missedSinceMs: isAlive ? undefined : (state.missedSinceMs ?? state.lastProbeAtMs),
    lossRatio: state.lossRatio + LOSS_SMOOTHING * (1 - state.lossRatio),
    probeLimitAtMs: undefined,
    nextProbeAtMs,
  };
}

function answered(
  state: MonitorState,
  { probeId, rttMs, atMs }: { probeId: number; rttMs: number; atMs: number },
  times: MonitorTimes,
): MonitorState {
  if (probeId < 1 || probeId > state.probeId) return state;
  const measured = {
    ...heard(state, atMs, times),
    ...measure(state, probeId, Math.max(0, rttMs), atMs),
    unanswered: 0,
  };
  if (probeId !== state.probeId || state.probeLimitAtMs === undefined) return measured;
  return { ...measured, probeLimitAtMs: undefined, lossRatio: state.lossRatio * (1 - LOSS_SMOOTHING) };
}

/** What the answer to a probe tells of the round trip. */
function measure(state: MonitorState, probeId: number, rttMs: number, atMs: number): Partial<MonitorState> {
  if (probeId <= state.movedAfterProbeId) return { measuredAtMs: atMs };
  if (!state.isOutdated) return smoothed(state, rttMs, atMs);
  return { ...smoothed({ ...state, rttMs: undefined }, rttMs, atMs), isOutdated: false };
}

/**
 * RFC 6298 §2, with more weight for a sample that comes long after the one before: standbys are probed rarely. One that is far
 * shorter then begins anew.
 */
function smoothed(state: MonitorState, rttMs: number, atMs: number): Partial<MonitorState> {
  if (state.rttMs === undefined || state.rttVariationMs === undefined) {
    return { rttMs, rttVariationMs: rttMs / 2, measuredAtMs: atMs };
  }
  const gapS = Math.max(1, (atMs - state.measuredAtMs) / 1_000);
  // Load of the machines only lengthens a round trip: what was measured under it long before must not count for minutes.
  const isRelief = rttMs < state.rttMs / 2 && rttMs < state.rttMs - state.rttVariationMs;
  if (isRelief && gapS >= RELIEF_AFTER_S) return { rttMs, rttVariationMs: rttMs / 2, measuredAtMs: atMs };
  const alpha = Math.min(MAX_SAMPLE_SHARE, 1 - (7 / 8) ** gapS);
  const beta = Math.min(MAX_SAMPLE_SHARE, 1 - (3 / 4) ** gapS);
  return {
    rttMs: (1 - alpha) * state.rttMs + alpha * rttMs,
    rttVariationMs: (1 - beta) * state.rttVariationMs + beta * Math.abs(state.rttMs - rttMs),
    measuredAtMs: atMs,
  };
}

/** Whatever arrives ends the suspicion; a probe that is still awaited is not needed for it any more. */
function heard(state: MonitorState, atMs: number, times: MonitorTimes): MonitorState {
  const next = {
    ...state,
    lastHeardAtMs: Math.max(state.lastHeardAtMs, atMs),
    unansweredSinceMs: undefined,
    missed: 0,
    missedSinceMs: undefined,
  };
  if (times.onlyWhenSilent) {
    return { ...next, probeLimitAtMs: undefined, nextProbeAtMs: atMs + intervalMs(next, atMs, times) };
  }
  return state.missed === 0 ? next : { ...next, nextProbeAtMs: atMs + intervalMs(next, atMs, times) };
}

function used(state: MonitorState, atMs: number, times: MonitorTimes): MonitorState {
  const wasIdle = isIdle(state, atMs, times);
  const next = {
    ...state,
    lastDataAtMs: Math.max(state.lastDataAtMs, atMs),
    activeSinceMs: wasIdle ? atMs : state.activeSinceMs,
  };
  return wasIdle && state.role === 'current' ? { ...next, nextProbeAtMs: atMs } : next;
}

function isIdle(state: MonitorState, atMs: number, times: MonitorTimes): boolean {
  return atMs - state.lastDataAtMs >= times.idleAfterMs;
}

function intervalMs(state: MonitorState, atMs: number, times: MonitorTimes): number {
  if (state.role !== 'current') return times.standbyIntervalMs;
  if (isIdle(state, atMs, times)) return times.idleIntervalMs;
  return atMs - state.activeSinceMs < times.startMs ? times.startIntervalMs : times.activeIntervalMs;
}

/** When the next probe is due, ms. */
function probeAtMs(state: MonitorState, times: MonitorTimes): number {
  if (state.role === 'draining') return Number.POSITIVE_INFINITY;
  if (state.unansweredSinceMs === undefined || state.role !== 'current') return state.nextProbeAtMs;
  const unanswered = Math.max(
    state.unansweredSinceMs + times.unansweredMs,
    state.lastProbeAtMs + times.unansweredSpacingMs,
  );
  return Math.min(state.nextProbeAtMs, unanswered);
}

function probeIfDue(state: MonitorState, atMs: number, times: MonitorTimes, effects: MonitorEffect[]): MonitorState {
  if (isDead(state, atMs, times) || state.probeLimitAtMs !== undefined) return state;
  if (atMs < probeAtMs(state, times)) return state;
  const probeId = state.probeId + 1;
  effects.push({ type: 'probe', probeId });
  return {
    ...state,
    probeId,
    lastProbeAtMs: atMs,
    probeLimitAtMs: atMs + probeLimitMs(state, times),
    nextProbeAtMs: atMs + intervalMs(state, atMs, times),
  };
}

function isDead(state: MonitorState, atMs: number, times: MonitorTimes): boolean {
  const hasConsent = atMs - state.measuredAtMs < times.consentMs || state.unanswered < times.deadAfter;
  return !hasConsent || state.missed >= missesFor(state, times.deadAfter, CHANCE.dead, times);
}

function healthOf(state: MonitorState, atMs: number, times: MonitorTimes): PathHealth {
  if (isDead(state, atMs, times)) return 'dead';
  if (state.missed >= missesFor(state, times.suspectAfter, CHANCE.suspect, times)) return 'suspect';
  // The same sum as in nextWakeMs: a difference may round the other way, and the wake-up would come for ever.
  return atMs >= state.lastHeardAtMs + times.trustMs ? 'stale' : 'good';
}

function nextWakeMs(state: MonitorState, atMs: number, times: MonitorTimes): number | undefined {
  if (state.health === 'dead') return undefined;
  const moments = [state.probeLimitAtMs ?? probeAtMs(state, times)];
  if (state.health === 'good') moments.push(state.lastHeardAtMs + times.trustMs);
  const wakeAtMs = Math.min(...moments);
  return Number.isFinite(wakeAtMs) ? Math.max(atMs, wakeAtMs) : undefined;
}
