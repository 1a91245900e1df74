import type { CameraClient, ConnectResult } from '@towpath/camera';
import { AbortedError, isAbort } from '@towpath/core';
import { RaceView } from '../../cli/race-view.ts';
import type { Runtime } from '../../cli/runtime.ts';
import { formatMs } from '../../cli/table.ts';
import { openCamera, type TargetOptions } from './target.ts';

interface ConnectOptions extends TargetOptions {
  /** Seconds. */
  settle?: number;
}

export async function connect(runtime: Runtime, host: string, options: ConnectOptions): Promise<void> {
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
  const race = races.find(({ success }) => success);
  const way = await settle(runtime, camera, options.settle ?? 0);
  if (options.json) {
    const shown = race && raceJson(race);
    io.out(JSON.stringify({ connectedMs: Math.round(connectedMs), way, race: shown, device: info.fields }));
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
  if (options.settle !== undefined) io.out(`  carried by ${way}`);
  const { modelName = 'camera', fwVerName = '?', batPercent, devId } = info;
  io.out(`  ${modelName}, firmware ${fwVerName}, id ${devId}, battery ${batPercent ?? '?'} %`);
}

/** The way that carries now, or after a direct path has replaced the relay, for which it waits so long. */
async function settle({ clock, signal }: Runtime, camera: CameraClient, seconds: number): Promise<string | undefined> {
  const over = new AbortController();
  using _limit = clock.timer(seconds * 1_000, () => over.abort(new AbortedError('Time is up.')));
  const either = AbortSignal.any([signal, over.signal]);
  try {
    while (camera.path?.mode === 'relay' && seconds > 0) await camera.events.once('connected', { signal: either });
  } catch (error) {
    if (!isAbort(error) || signal.aborted) throw error;
  }
  return camera.path?.mode;
}

function raceJson(result: ConnectResult): object {
  const { report: _report, ...rest } = result;
  if (!rest.success) return rest;
  const { session: _session, ...shown } = rest;
  return shown;
}
