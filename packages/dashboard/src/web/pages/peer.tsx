import { useEffect, useState } from 'react';
import type { PeerDetail } from '../../api/peers.ts';
import {
  UNKNOWN,
  formatAgo,
  formatBytes,
  formatMs,
  formatRatio,
  formatTimeSeconds,
  formatDuration,
} from '../lib/format.ts';
import { useLoaded, useNow, usePage, usePart, useRequest } from '../lib/hooks.ts';
import { latencyFigures } from '../lib/latency.ts';
import { KIND_WORDS, statusWords, toneOf } from '../lib/peers.ts';
import { Icon } from '../ui/icons.tsx';
import { LatencyChart } from '../ui/latency-chart.tsx';
import {
  Badge,
  Card,
  Dot,
  ErrorLine,
  FailedState,
  Facts,
  Figure,
  PageHead,
  ScrollBox,
  Skeleton,
} from '../ui/parts.tsx';
import { Waterfall } from '../ui/waterfall.tsx';

const SHOWN_MS = 2 * 3_600_000;
/** A daemon that was started a moment ago: its few readings fill at least this much. */
const LEAST_SHOWN_MS = 5 * 60_000;
/** Switches come in groups; the detail is read again when a group is over. */
const READ_AGAIN_MS = 700;

export function PeerPage({ party, peer: peerId }: { party: string; peer: string }) {
  const { session } = usePage();
  const key = `${party}/${peerId}`;
  const { loaded, again } = useLoaded(key, (signal) =>
    session.api.call<PeerDetail>('peer', { parts: { party, peer: peerId }, signal }),
  );
  useEffect(() => {
    if (loaded.state === 'ready') session.dispatch({ type: 'detail', detail: loaded.value });
  }, [loaded, session]);
  useEffect(() => () => session.dispatch({ type: 'detail', detail: undefined }), [session]);
  const detail = usePart((state) =>
    state.detail?.party === party && state.detail.peer.id === peerId ? state.detail : undefined,
  );
  const shown = detail ?? (loaded.state === 'ready' ? loaded.value : undefined);
  // Why, races and time line are not part of the events: they are read again when the path or the status changed.
  const version = shown && `${shown.peer.path?.id}/${shown.peer.status}/${shown.log.at(-1)?.at}`;
  const [seen, setSeen] = useState<string | undefined>(undefined);
  // biome-ignore lint/correctness/useExhaustiveDependencies: only the version counts
  useEffect(() => {
    if (version === undefined || version === seen) return;
    setSeen(version);
    if (seen === undefined) return;
    const timer = setTimeout(again, READ_AGAIN_MS);
    return () => clearTimeout(timer);
  }, [version]);

  const back = { href: `/party/${encodeURIComponent(party)}`, label: 'Party' };
  if (shown === undefined) {
    return (
      <div className="page">
        <PageHead title="Peer" back={back} />
        <Card>
          {loaded.state === 'failed' ? <FailedState error={loaded.error} again={again} /> : <Skeleton lines={6} />}
        </Card>
      </div>
    );
  }
  return (
    <div className="page">
      <Head detail={shown} back={back} />
      <Why detail={shown} />
      <Latency detail={shown} />
      <div className="columns wide-first">
        <Races detail={shown} />
        <div className="stack">
          <Connection detail={shown} />
          <Paths detail={shown} />
        </div>
      </div>
      <Log detail={shown} />
    </div>
  );
}

function Head({ detail: { party, peer }, back }: { detail: PeerDetail; back: { href: string; label: string } }) {
  const { session } = usePage();
  const race = useRequest();
  const ping = useRequest();
  const [answer, setAnswer] = useState<string | undefined>(undefined);
  const parts = { party, peer: peer.id };
  return (
    <>
      <PageHead
        title={peer.name}
        back={back}
        sub={<span className="mono">{peer.address}</span>}
        badge={<Badge tone={toneOf(peer)}>{statusWords(peer)}</Badge>}
        actions={
          <>
            <button
              type="button"
              className="button"
              disabled={ping.busy}
              onClick={() =>
                ping.run(async () => {
                  setAnswer(undefined);
                  const { rttMs } = await session.api.call<{ rttMs: number | null }>('ping', { parts });
                  setAnswer(rttMs === null ? 'No answer' : formatMs(rttMs));
                })
              }
            >
              <Icon name="signal" size={17} />
              <span aria-live="polite">{answer ?? 'Ping'}</span>
            </button>
            <button
              type="button"
              className="button"
              disabled={race.busy}
              onClick={() => race.run(() => session.api.call('refreshPeer', { parts }))}
            >
              <Icon name="refresh" size={17} />
              Race again
            </button>
          </>
        }
      />
      {(race.error ?? ping.error) && <ErrorLine>{race.error ?? ping.error}</ErrorLine>}
    </>
  );
}

const VERDICTS = { direct: 'Direct', relayed: 'Relayed', unreachable: 'Not reached' } as const;

function Why({ detail: { why, peer } }: { detail: PeerDetail }) {
  const tone = why.verdict === 'direct' ? 'direct' : why.verdict === 'relayed' ? 'relay' : peer.online ? 'bad' : 'idle';
  return (
    <section className="card why" aria-label={`Why: ${VERDICTS[why.verdict]}`}>
      <div className="why-main">
        <div className="why-head">
          <Dot tone={tone} />
          <h2>{why.summary}</h2>
        </div>
        {why.details.length > 0 && (
          <ul className="why-details why-indent">
            {why.details.map((line) => (
              <li key={line}>{line}</li>
            ))}
          </ul>
        )}
        <p className="small muted why-indent">
          <code>{why.reason.code}</code>: {why.reason.text}
        </p>
      </div>
      {why.next.length > 0 && (
        <div className="why-next">
          <h3>{why.verdict === 'relayed' ? 'What would make it direct' : 'What to do'}</h3>
          <ul>
            {why.next.map((line) => (
              <li key={line}>{line}</li>
            ))}
          </ul>
        </div>
      )}
    </section>
  );
}

function Latency({ detail: { latency, timeline } }: { detail: PeerDetail }) {
  const now = useNow(5_000);
  const toMs = Math.max(now, latency.at(-1)?.atMs ?? 0);
  const fromMs = Math.max(toMs - SHOWN_MS, Math.min(latency[0]?.atMs ?? toMs, toMs - LEAST_SHOWN_MS));
  const figures = latencyFigures(latency);
  return (
    <Card title="Latency and path" aside={`last ${formatDuration(toMs - fromMs)}`}>
      {figures === undefined ? (
        <p className="muted">No echo was answered in this time.</p>
      ) : (
        <div className="figures figures-small">
          <Figure label="Median">{formatMs(figures.medianMs)}</Figure>
          <Figure label="95 % below">{formatMs(figures.p95Ms)}</Figure>
          <Figure label="Not reached">{formatRatio(figures.missedRatio)}</Figure>
        </div>
      )}
      <LatencyChart samples={latency} timeline={timeline} fromMs={fromMs} toMs={toMs} />
      <ul className="legend" aria-hidden="true">
        <li data-tone="direct">direct</li>
        <li data-tone="relay">relay</li>
        <li data-tone="idle">no path</li>
      </ul>
    </Card>
  );
}

function Races({ detail: { races } }: { detail: PeerDetail }) {
  const [back, setBack] = useState(0);
  const now = useNow();
  const race = races[races.length - 1 - Math.min(back, races.length - 1)];
  if (race === undefined) {
    return (
      <Card title="Race">
        <p className="muted">No race was held since the daemon was started.</p>
      </Card>
    );
  }
  return (
    <Card
      title={race.running ? 'Race, running' : `Race, ${formatMs(race.elapsedMs)}`}
      aside={
        <span className="race-picker">
          {formatAgo(Date.parse(race.startedAt), now)}
          {races.length > 1 && (
            <>
              <button
                type="button"
                className="icon-button"
                aria-label="Earlier race"
                disabled={back >= races.length - 1}
                onClick={() => setBack(back + 1)}
              >
                <Icon name="back" size={16} />
              </button>
              <button
                type="button"
                className="icon-button"
                aria-label="Later race"
                disabled={back === 0}
                onClick={() => setBack(back - 1)}
              >
                <Icon name="next" size={16} />
              </button>
            </>
          )}
        </span>
      }
      flush
    >
      <Waterfall race={race} />
    </Card>
  );
}

function Connection({ detail: { peer } }: { detail: PeerDetail }) {
  const now = useNow();
  const ago = (at: string | null): string => (at === null ? UNKNOWN : formatAgo(Date.parse(at), now));
  return (
    <Card title="Connection">
      <Facts
        rows={[
          ['Path', peer.path === null ? 'none' : KIND_WORDS[peer.path.kind]],
          peer.path
            ? [
                'Endpoint',
                <span key="endpoint" className="mono">
                  {peer.path.endpoint}
                </span>,
              ]
            : undefined,
          peer.path?.relay ? ['Relay', peer.path.relay] : undefined,
          peer.path?.since ? ['For', formatDuration(now - Date.parse(peer.path.since))] : undefined,
          ['Chosen because', peer.pathReason.text],
          [
            'Data plane',
            <span key="plane" title={peer.dataPlaneReason.text}>
              {peer.dataPlane === 'splice' ? 'kernel (splice)' : 'daemon (hop)'}
            </span>,
          ],
          ['Lost echoes', formatRatio(peer.lossRatio)],
          ['Largest packet', `${peer.mtuBytes} bytes`],
          ['Received', formatBytes(peer.receivedBytes)],
          ['Sent', formatBytes(peer.sentBytes)],
          ['Handshake', ago(peer.lastHandshakeAt)],
        ]}
      />
    </Card>
  );
}

function Paths({ detail: { paths } }: { detail: PeerDetail }) {
  if (paths.length === 0) return null;
  return (
    <Card title="Verified paths" flush>
      <ul className="rows">
        {paths.map((path) => (
          <li key={path.id} className="row">
            <span className="row-main">
              <span className="row-title">
                {KIND_WORDS[path.kind]}, {path.role}
              </span>
              <span className="row-sub mono">{path.to}</span>
            </span>
            <span className="row-end">
              {formatMs(path.rttMs ?? undefined)}
              <span className="row-sub block">{path.health}</span>
            </span>
          </li>
        ))}
      </ul>
    </Card>
  );
}

const SHOWN_EVENTS = 12;

function Log({ detail: { log } }: { detail: PeerDetail }) {
  const [all, setAll] = useState(false);
  if (log.length === 0) return null;
  const shown = (all ? log : log.slice(-SHOWN_EVENTS)).toReversed();
  return (
    <Card title="What happened" flush>
      <ScrollBox label="What happened">
        <table className="log-table">
          <thead>
            <tr>
              <th scope="col">Time</th>
              <th scope="col">Event</th>
              <th scope="col">Path</th>
              <th scope="col">Reason</th>
            </tr>
          </thead>
          <tbody>
            {shown.map((event, index) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: events have no id, and several may be of one moment
              <tr key={`${event.at}/${index}`}>
                <td className="nowrap muted">{formatTimeSeconds(Date.parse(event.at))}</td>
                <td>{event.what}</td>
                <td className="mono">{event.label}</td>
                <td className="muted">{event.reason.text}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </ScrollBox>
      {log.length > SHOWN_EVENTS && (
        <button type="button" className="button table-more" data-kind="plain" onClick={() => setAll(!all)}>
          {all ? 'Show fewer' : `Show all ${log.length}`}
        </button>
      )}
    </Card>
  );
}
