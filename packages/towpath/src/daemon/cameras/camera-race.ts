import type { CameraRaceResult } from '@towpath/camera';
import type { PathKind, Race } from '@towpath/dashboard/api';

/** The race of a camera as the API has it. */
export function raceOf({ report }: CameraRaceResult, startedMs: number): Race {
  const starts = report.attempts.flatMap(({ startedAtMs }) => (startedAtMs === undefined ? [] : [startedAtMs]));
  const originMs = Math.min(...starts);
  return {
    startedAt: new Date(startedMs).toISOString(),
    elapsedMs: report.elapsedMs,
    running: false,
    winner: report.winner ?? null,
    attempts: report.attempts.map(({ id, kind, label, state, startedAtMs, elapsedMs, error }) => ({
      id,
      kind: kind as PathKind,
      label,
      state,
      startedMs: startedAtMs === undefined ? null : startedAtMs - originMs,
      endedMs: startedAtMs === undefined || elapsedMs === undefined ? null : startedAtMs - originMs + elapsedMs,
      reason: error?.code ?? null,
    })),
  };
}
