import type { PathSpan } from '../../api/peers.ts';
import { formatDuration, formatTime } from '../lib/format.ts';
import { KIND_WORDS, toneOfKind } from '../lib/peers.ts';
import { visibleSpans } from '../lib/timeline.ts';

/** Which path was the current one, as a stripe along a time axis. */
export function PathStripe({
  timeline,
  fromMs,
  toMs,
}: {
  timeline: readonly PathSpan[];
  fromMs: number;
  toMs: number;
}) {
  const spans = visibleSpans(timeline, fromMs, toMs);
  return (
    <ol className="stripe" aria-label="Paths over time">
      {spans.map(({ span, left, width }) => {
        const words = span.kind === null ? 'No path' : KIND_WORDS[span.kind];
        const text = `${words}, ${formatTime(span.fromMs)} to ${span.toMs === null ? 'now' : formatTime(span.toMs)} (${formatDuration((span.toMs ?? toMs) - span.fromMs)}): ${span.label}. ${span.reason.text}`;
        return (
          <li
            key={span.fromMs}
            data-tone={toneOfKind(span.kind)}
            style={{ left: `${left}%`, width: `${width}%` }}
            title={text}
          >
            <span className="visually-hidden">{text}</span>
          </li>
        );
      })}
    </ol>
  );
}
