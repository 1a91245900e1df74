import type { PathSpan } from '../../api/peers.ts';

export interface VisibleSpan {
  readonly span: PathSpan;
  /** Percent of the whole. */
  readonly left: number;
  readonly width: number;
}

/** Thinner than this a span could not be seen, percent. */
const LEAST_WIDTH = 0.35;

/** The spans that lie between two times, as parts of the whole. */
export function visibleSpans(timeline: readonly PathSpan[], fromMs: number, toMs: number): VisibleSpan[] {
  const whole = Math.max(1, toMs - fromMs);
  return timeline.flatMap((span) => {
    const start = Math.max(fromMs, span.fromMs);
    const end = Math.min(toMs, span.toMs ?? toMs);
    if (end <= start) return [];
    const left = ((start - fromMs) / whole) * 100;
    return [{ span, left, width: Math.min(100 - left, Math.max(LEAST_WIDTH, ((end - start) / whole) * 100)) }];
  });
}
