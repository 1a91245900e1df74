import type { ConnectResult } from '@towpath/camera';
import { RaceView } from '../../cli/race-view.ts';
import type { Runtime } from '../../cli/runtime.ts';
import { formatMs } from '../../cli/table.ts';
import { openCamera, type TargetOptions } from './target.ts';

export async function connect(runtime: Runtime, host: string, options: TargetOptions): Promise<void> {
  const { io, clock, signal } = runtime;
  const view = new RaceView(io);
  const races: ConnectResult[] = [];
  const startedAt = clock.now();
  await using camera = openCamera(runtime, host, options, {
    ...(options.json ? {} : { onProgress: (progress) => view.step(progress) }),
    onResult: (result) => {
      races.push(result);
      if (!options.json) view.finish(result.report);
    },
  });
  if (!options.json) {
    io.err(`Racing to ${io.style('bold', host)}`);
    camera.events.on('tryFailed', ({ error, tries, nextMs }) => {
      const next = nextMs === undefined ? '' : ` Next try in ${formatMs(nextMs)}.`;
      io.err(io.style('yellow', `Try ${tries} failed: ${error.message}${next}`));
    });
  }
  await camera.connectWithRetries({ signal });
  const connectedMs = clock.now() - startedAt;
  const info = await camera.deviceInfo({ signal });
  const race = races.at(-1);
  if (options.json) {
    io.out(JSON.stringify({ connectedMs: Math.round(connectedMs), race: race && raceJson(race), device: info.fields }));
    return;
  }
  if (race?.success) {
    const { winningThread, port, destinationPort, elapsedTime } = race;
    io.out(
      `${io.style('green', '✓')} ${host}:${destinationPort} by ${winningThread} from port ${port}: path in ${formatMs(
        elapsedTime * 1_000,
      )}, logged in after ${formatMs(connectedMs)}`,
    );
  }
  const { modelName = 'camera', fwVerName = '?', batPercent, devId } = info;
  io.out(`  ${modelName}, firmware ${fwVerName}, id ${devId}, battery ${batPercent ?? '?'} %`);
}

function raceJson(result: ConnectResult): object {
  const { report: _report, ...rest } = result;
  if (!rest.success) return rest;
  const { session: _session, ...shown } = rest;
  return shown;
}
