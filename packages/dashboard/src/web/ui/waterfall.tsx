import type { Race, RaceAttempt } from '../../api/common.ts';
import { formatMs } from '../lib/format.ts';
import { KIND_WORDS } from '../lib/peers.ts';
import { ScrollBox } from './parts.tsx';
import { scaleTicks, waterfallBars } from '../lib/waterfall.ts';

/** A race: each attempt from its start to its end. */
export function Waterfall({ race }: { race: Race }) {
  const bars = waterfallBars(race);
  const ticks = scaleTicks(race.elapsedMs);
  return (
    <ScrollBox label="Attempts of the race">
      <table className="waterfall">
        <thead>
          <tr>
            <th scope="col">Attempt</th>
            <th scope="col" className="waterfall-scale">
              <span className="visually-hidden">Time since the start</span>
              <span aria-hidden="true" className="waterfall-ticks">
                {ticks.map(({ ms, percent }) => (
                  <span key={ms} style={{ left: `${percent}%` }}>
                    {ms === 0 ? '0' : formatMs(ms)}
                  </span>
                ))}
              </span>
            </th>
            <th scope="col">Result</th>
          </tr>
        </thead>
        <tbody>
          {bars.map(({ attempt, left, width, won }) => (
            <tr key={attempt.id} data-won={won}>
              <th scope="row">
                <span className="row-title">{KIND_WORDS[attempt.kind]}</span>
                <span className="row-sub mono">{attempt.label}</span>
              </th>
              <td className="waterfall-track">
                {ticks.map(({ ms, percent }) => (
                  <i key={ms} style={{ left: `${percent}%` }} />
                ))}
                {width > 0 && (
                  <span
                    className="waterfall-bar"
                    data-kind={attempt.kind === 'relay' ? 'relay' : 'direct'}
                    data-state={attempt.state}
                    style={{ left: `${left}%`, width: `${width}%` }}
                  />
                )}
              </td>
              <td>{resultOf(attempt, won)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </ScrollBox>
  );
}

function resultOf(attempt: RaceAttempt, won: boolean): React.ReactNode {
  const took = attempt.endedMs === null || attempt.startedMs === null ? undefined : attempt.endedMs - attempt.startedMs;
  switch (attempt.state) {
    case 'success':
      return <span className="waterfall-won">{`${won ? 'won' : 'answered'}, ${formatMs(took)}`}</span>;
    case 'failed':
      return <span className="muted">{attempt.reason ? attempt.reason.replaceAll('-', ' ') : 'failed'}</span>;
    case 'cancelled':
      return <span className="muted">not needed</span>;
    case 'running':
      return 'running';
    case 'pending':
      return <span className="muted">waiting</span>;
    default:
      return attempt.state satisfies never;
  }
}
