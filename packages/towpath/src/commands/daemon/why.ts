import type { Camera, PeerDetail, Why } from '@towpath/dashboard/api';
import { ExitCode } from '../../cli/exit-code.ts';
import { ReportedError } from '../../cli/failure.ts';
import type { Runtime } from '../../cli/runtime.ts';
import { outputWidth, table, wrap } from '../../cli/table.ts';
import { detailIn, findTarget, type MemberOptions } from './find-target.ts';
import { peerJson } from './json.ts';
import { printJson } from '../../cli/json-output.ts';

const LAST_EVENTS = 15;

/** Explains how a member or camera is reached. @throws ReportedError with the exit code of the answer. */
export async function why(runtime: Runtime, target: string, options: MemberOptions): Promise<void> {
  const { io } = runtime;
  const { json } = options;
  const { camera, party } = await findTarget(runtime, target, options);
  const detail = party === undefined ? undefined : await detailIn(runtime, party, target);
  const answer = camera === undefined ? detail!.why : explainCamera(camera);
  if (json) {
    const told =
      detail === undefined ? { camera } : { peer: peerJson(detail.peer), paths: detail.paths, log: detail.log };
    printJson(io, 'why', { target, ...answer, reason: answer.reason.code, ...told });
  } else explain(runtime, answer, detail);
  const { verdict, summary } = answer;
  if (verdict === 'unreachable')
    throw new ReportedError('why-unreachable', summary, { kind: 'unreachable', exitCode: ExitCode.NotReached });
  if (verdict === 'relayed')
    throw new ReportedError('why-relayed', summary, { kind: 'unreachable', exitCode: ExitCode.Relayed });
}

function explain({ io }: Runtime, { summary, reason, details, next }: Why, detail: PeerDetail | undefined): void {
  const say = (line: string, indent: string) => {
    for (const [at, part] of wrap(line, outputWidth(io) - indent.length).entries()) {
      io.out(`${at === 0 ? indent : ' '.repeat(indent.length)}${part}`);
    }
  };
  say(summary, '');
  say(`Reason: ${reason.text} (${reason.code})`, '  ');
  if (detail !== undefined) {
    const { peer } = detail;
    say(`Data plane: ${peer.dataPlane} (${peer.dataPlaneReason.code}), packets of up to ${peer.mtuBytes} bytes`, '  ');
    say(`Lost echoes: ${Math.round(peer.lossRatio * 100)} %`, '  ');
  }
  for (const each of details) say(each, '  ');
  for (const each of next) say(each, 'Next: ');
  if (detail === undefined || detail.log.length === 0) return;
  io.out('Last events:');
  const rows: string[][] = [];
  const times: number[] = [];
  for (const { at, what, label, reason: cause } of detail.log) {
    const row = [new Date(at).toTimeString().slice(0, 8), what, label, cause.code];
    // Every path to a dead candidate fails on its own: one row for all of them, with the last time.
    const isSame = rows.at(-1)?.slice(1).join() === row.slice(1).join();
    const count = isSame ? times.pop()! + 1 : 1;
    if (isSame) rows.pop();
    rows.push(row);
    times.push(count);
  }
  const shown = rows.map(([at, what, ...rest], index) => [
    at!,
    times[index] === 1 ? what! : `${times[index]} × ${what}`,
    ...rest,
  ]);
  for (const line of table(['TIME', 'WHAT', 'WHERE', 'REASON'], shown.slice(-LAST_EVENTS), outputWidth(io) - 2))
    io.out(`  ${line}`);
}

/** The same for a camera. */
export function explainCamera({ name, state, path, problem, race, via }: Camera): Why {
  const silent = (race?.attempts ?? []).filter(({ state: each }) => each === 'failed');
  const details = silent.map(
    ({ kind, label, reason }) => `${kind} ${label} did not answer (${reason ?? 'no answer'}).`,
  );
  const through = via === null ? '' : ` behind ${via}`;
  if (state !== 'connected' || path === null) {
    return {
      verdict: 'unreachable',
      reason: { code: problem?.code ?? state, text: problem?.message ?? `the camera is ${state}` },
      summary: `${name}${through} is not reached: it is ${state}.`,
      details,
      next: [
        via === null
          ? 'Wake the camera, and check that this machine is in its network: towpath camera find'
          : `Check that ${via} is reached and offers the network of the camera: towpath why ${via}`,
      ],
    };
  }
  if (path.kind === 'relay') {
    return {
      verdict: 'relayed',
      reason: { code: 'no-path', text: 'no direct path answered' },
      summary: `${name} is reached through a relay at ${path.endpoint}.`,
      details,
      next: ['A direct path is looked for again and again. In the network of the camera, LAN search finds it at once.'],
    };
  }
  return {
    verdict: 'direct',
    reason: { code: 'first', text: 'the first verified path' },
    summary: `${name}${through} is reached directly at ${path.endpoint} (${path.kind}).`,
    details,
    next: [],
  };
}
