import { Link } from 'wouter';
import { formatTimeSeconds } from '../lib/format.ts';
import { usePart } from '../lib/hooks.ts';
import type { LogEntry } from '../lib/state.ts';
import { Card, Dot, EmptyState, PageHead } from '../ui/parts.tsx';

export function EventsPage() {
  const log = usePart((state) => state.log);
  return (
    <div className="page">
      <PageHead title="Events" sub={`Since this page was opened; the newest ${log.limit}`} />
      <Card flush>
        {log.items.length === 0 ? (
          <EmptyState icon="events" title="Nothing has changed since">
            When a peer or a camera changes its state or its path, it is written here. The daemon's own log goes further
            back: <code>towpath logs</code>.
          </EmptyState>
        ) : (
          <ol className="rows" aria-live="off">
            {log.items.toReversed().map((entry) => (
              <Entry key={entry.id} entry={entry} />
            ))}
          </ol>
        )}
      </Card>
    </div>
  );
}

function Entry({ entry: { atMs, tone, subject, text, code, to } }: { entry: LogEntry }) {
  return (
    <li className="row row-low">
      <span className="muted event-time">{formatTimeSeconds(atMs)}</span>
      <Dot tone={tone === 'plain' ? 'idle' : tone} />
      <span className="row-main event-text">
        {to ? (
          <Link href={to} className="event-subject">
            {subject}
          </Link>
        ) : (
          <span>{subject}</span>
        )}
        <span className="muted">{text}</span>
      </span>
      {code && <code className="event-code muted">{code}</code>}
    </li>
  );
}
