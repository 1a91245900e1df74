import type { PathKind, Race, RaceAttempt } from '@towpath/dashboard/api';
import type { PathLogEntry } from '@towpath/mesh';

/** Attempts that begin within this time after the last one belong to one race. */
const QUIET_MS = 5_000;
const MAX_RACES = 10;

/** Groups the time line of a peer's paths into races: attempts that ran side by side. The newest last. */
export function racesOf(log: readonly PathLogEntry[]): Race[] {
  const races: { startedMs: number; lastMs: number; attempts: Map<string, RaceAttempt> }[] = [];
  for (const { atMs, what, label, reason } of log) {
    if (what === 'attempt') {
      const last = races.at(-1);
      const joins = last !== undefined && atMs - last.lastMs < QUIET_MS && !last.attempts.has(label);
      const race = joins ? last : { startedMs: atMs, lastMs: atMs, attempts: new Map<string, RaceAttempt>() };
      if (!joins) races.push(race);
      race.lastMs = atMs;
      race.attempts.set(label, {
        id: label,
        kind: kindOf(label),
        label,
        state: 'running',
        startedMs: atMs - race.startedMs,
        endedMs: null,
        reason: null,
      });
    } else if (what === 'success' || what === 'failure') {
      const race = races.findLast(({ attempts }) => attempts.get(label)?.state === 'running');
      const attempt = race?.attempts.get(label);
      if (race === undefined || attempt === undefined) continue;
      attempt.state = what === 'success' ? 'success' : 'failed';
      attempt.endedMs = atMs - race.startedMs;
      attempt.reason = what === 'success' ? null : reason;
      race.lastMs = Math.max(race.lastMs, atMs);
    }
  }
  return races.slice(-MAX_RACES).map(({ startedMs, lastMs, attempts }) => {
    const all = [...attempts.values()];
    const won = all.filter(({ state }) => state === 'success').sort((a, b) => (a.endedMs ?? 0) - (b.endedMs ?? 0))[0];
    return {
      startedAt: new Date(startedMs).toISOString(),
      elapsedMs: won?.endedMs ?? lastMs - startedMs,
      running: won === undefined && all.some(({ state }) => state === 'running'),
      winner: won?.id ?? null,
      attempts: all,
    };
  });
}

/** From the label of an attempt: where it goes, and through what. */
function kindOf(label: string): PathKind {
  if (/ from |relay|turn/i.test(label)) return 'relay';
  const address = /(\d{1,3}(?:\.\d{1,3}){3}):\d+\s*$/.exec(label)?.[1] ?? '';
  return /^(10\.|127\.|169\.254\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.)/.test(address) ? 'lan' : 'p2p';
}
