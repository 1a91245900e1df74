import type { EventBatch, PathEvent, PeerPath } from '@towpath/dashboard/api';
import { routePath } from '@towpath/dashboard/routes';
import type { Runtime } from '../../cli/runtime.ts';
import { timeText } from '../../cli/time-text.ts';
import { formatMs, outputWidth, table } from '../../cli/table.ts';
import { followEvents } from '../../daemon/api/follow-events.ts';
import { askDaemon } from '../../daemon/api/api-client.ts';
import { type MemberOptions, peerDetail } from '../daemon/find-target.ts';
import { printJson } from '../../cli/json-output.ts';

/** Prints the paths to a member, or follows their time line. */
export async function paths(
  runtime: Runtime,
  member: string,
  options: MemberOptions & { follow?: boolean },
): Promise<void> {
  const { io } = runtime;
  const { json, follow } = options;
  const { peer, paths: found, log, party } = await peerDetail(runtime, member, options);
  if (!follow) {
    if (json) printJson(io, 'paths', { peer: peer.name, paths: found });
    else if (found.length === 0) io.out(`There is no path to ${peer.name}. Next: towpath why ${member}`);
    else for (const line of pathTable(found, outputWidth(io))) io.out(line);
    return;
  }
  const show = (event: PathEvent) => {
    const { at, what, label, reason } = event;
    if (json) printJson(io, 'path', { at, what, label, reason: reason.code });
    else io.out([timeText(io, Date.parse(at)), what, label, reason.code].join('  '));
  };
  for (const entry of log) show(entry);
  await followEvents(runtime, ({ events }: EventBatch) => {
    for (const event of events)
      if (event.type === 'path' && event.party === party && event.peer === peer.id) show(event.event);
  });
}

/** The paths to a member, the current one first. */
export function pathTable(paths: readonly PeerPath[], width: number): string[] {
  const rows = paths.map(({ kind, to, role, health, rttMs, lossRatio, id }) => [
    role,
    kind,
    to,
    health,
    rttMs === null ? '' : formatMs(rttMs),
    `${Math.round(lossRatio * 100)} %`,
    id,
  ]);
  return table(['ROLE', 'KIND', 'TO', 'HEALTH', 'RTT', 'LOSS', 'ID'], rows, width);
}

/** One echo through the tunnel. @returns ms; null when it was lost */
export async function echo(runtime: Runtime, party: string, member: string): Promise<number | null> {
  const path = routePath('ping', { party, peer: member });
  const { rttMs } = await askDaemon<{ rttMs: number | null }>(runtime, 'POST', path);
  return rttMs;
}
