import type { Io } from './io.ts';

/** A time for whoever reads it: the local time on a terminal, else ISO 8601, which programs and other zones understand. */
export function timeText({ interactive }: Pick<Io, 'interactive'>, timeMs: number): string {
  const at = new Date(timeMs);
  return interactive ? `${at.toLocaleDateString('sv')} ${at.toTimeString().slice(0, 8)}` : at.toISOString();
}
