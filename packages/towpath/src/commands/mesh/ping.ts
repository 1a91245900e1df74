import { deadlineInterval } from '@towpath/core';
import { ReportedError } from '../../cli/failure.ts';
import type { Runtime } from '../../cli/runtime.ts';
import { formatMs, outputWidth } from '../../cli/table.ts';
import { detailIn, findMemberParty, type MemberOptions } from '../daemon/find-target.ts';
import { echo, pathTable } from './paths.ts';
import { printJson } from '../../cli/json-output.ts';

interface PingOptions extends MemberOptions {
  count: number;
  /** Seconds. */
  interval: number;
}

/**
 * Measures round trips to a member through the tunnel, and prints what was measured on each of its paths.
 * @throws ReportedError when no echo was answered.
 */
export async function ping(runtime: Runtime, member: string, options: PingOptions): Promise<void> {
  const { io, clock, signal } = runtime;
  const party = await findMemberParty(runtime, member, options);
  const results: (number | undefined)[] = [];
  let turn = Promise.withResolvers<void>();
  using _interval = deadlineInterval({ clock, intervalMs: options.interval * 1_000, onTick: () => turn.resolve() });
  while (results.length < options.count && !signal.aborted) {
    if (results.length > 0) await turn.promise;
    turn = Promise.withResolvers();
    const rttMs = (await echo(runtime, party, member)) ?? undefined;
    results.push(rttMs);
    const sequence = results.length;
    if (options.json) printJson(io, 'echo', { sequence, rttMs });
    else
      io.out(
        `echo ${sequence} of ${member}: ${rttMs === undefined ? 'no answer within 1 s' : `${rttMs.toFixed(1)} ms`}`,
      );
  }
  const answered = results.filter((rttMs) => rttMs !== undefined).toSorted((a, b) => a - b);
  const median = answered[Math.floor(answered.length / 2)];
  if (!options.json) {
    const spread = median === undefined ? '' : `, median ${formatMs(median)}`;
    io.out(`${results.length} sent, ${answered.length} answered${spread}`);
  }
  const { peer, paths } = await detailIn(runtime, party, member);
  if (options.json) printJson(io, 'paths', { peer: peer.name, paths });
  else if (paths.length > 0) for (const line of ['', ...pathTable(paths, outputWidth(io))]) io.out(line);
  if (answered.length === 0) throw new ReportedError('no-answer', `${member} did not answer.`, { kind: 'unreachable' });
}
