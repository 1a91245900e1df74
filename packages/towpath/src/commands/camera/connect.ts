import type { CameraClient, CameraRaceResult } from '@towpath/camera';
import { connectResult } from '@towpath/camera/compat';
import { AbortedError, deadline, isAbort, type RaceProgress } from '@towpath/core';
import type { Io } from '../../cli/io.ts';
import { RaceView } from '../../cli/race-view.ts';
import type { Runtime } from '../../cli/runtime.ts';
import { formatMs } from '../../cli/table.ts';
import { ConnectLine } from './connect-line.ts';
import { type JoinOptions, openHotspot, type WakeOptions } from './hotspot.ts';
import { cameraTime } from './info.ts';
import { pathText } from './path-text.ts';
import {
  adviseTarget,
  cameraRuntime,
  connectLimitMs,
  contestedText,
  openCamera,
  type TargetOptions,
} from './target.ts';
import { phaseTeller } from './wake.ts';
import { printJson } from '../../cli/json-output.ts';

interface ConnectOptions extends TargetOptions, WakeOptions, JoinOptions {
  /** Wake the camera and join its hotspot first. */
  wake?: boolean;
  /** Seconds. */
  settle?: number;
}

export async function connect(runtime: Runtime, host: string, options: ConnectOptions): Promise<void> {
  const { io, clock, signal } = runtime;
  const races: CameraRaceResult[] = [];
  await using hotspot = options.wake ? await openHotspot(runtime, options, phaseTeller(runtime, options)) : undefined;
  const startedAt = clock.now();
  const localAddress = options.localAddress ?? hotspot?.join.address;
  const target = { ...options, ...(localAddress !== undefined && { localAddress }) };
  const shown = options.json ? undefined : new ConnectView(io);
  await using camera = openCamera(cameraRuntime(runtime), host, target, {
    onProgress: (progress) => shown?.step(progress),
    onResult: (result) => {
      races.push(result);
      shown?.finish(result);
    },
    ...(shown && { onContested: (contest) => shown.warn(contestedText(contest)) }),
  });
  await adviseTarget(runtime, host, target);
  {
    using line = new ConnectLine(runtime, camera, {
      host,
      limitMs: connectLimitMs(options),
      quiet: options.json ?? false,
    });
    shown?.begin(host, line, camera);
    await camera.connectWithRetries({ signal });
  }
  const connectedMs = clock.now() - startedAt;
  const info = await camera.deviceInfo({ signal });
  const race = races.find(({ ok }) => ok);
  const kind = await settle(runtime, camera, options.settle ?? 0);
  if (options.json) {
    const json = race && raceJson(race);
    printJson(io, 'connected', { connectedMs: Math.round(connectedMs), kind, race: json, device: info.fields });
    return;
  }
  if (race?.ok) {
    const found = `${io.style('green', '✓')} connected ${pathText(race.kind, race.session)}`;
    io.out(`${found}: path in ${formatMs(race.report.elapsedMs)}, logged in after ${formatMs(connectedMs)}`);
  }
  if (options.settle !== undefined) io.out(`  path in use: ${kind}`);
  const { modelName = 'camera', fwVerName = '?', batPercent, devId } = info;
  io.out(`  ${modelName}, firmware ${fwVerName}, id ${devId}, battery ${batPercent ?? '?'} %`);
  if (options.keepClock) io.out('  its clock was not changed');
  else if (info.timeUTC !== undefined)
    io.out(`  its clock was set to ${cameraTime(info.timeUTC)}; --keep-clock leaves it`);
}

/** Shows the attempts of each race, with the connect's line below them. */
class ConnectView {
  readonly #io: Io;
  readonly #races: RaceView;
  #line: ConnectLine | undefined;

  constructor(io: Io) {
    this.#io = io;
    this.#races = new RaceView(io);
  }

  begin(host: string, line: ConnectLine, camera: CameraClient): void {
    line.clear();
    this.#io.err(`Connecting to ${this.#io.style('bold', host)}. Ctrl-C ends it.`);
    this.#line = line;
    camera.events.on('tryFailed', ({ error, tries, nextMs }) => {
      const next = nextMs === undefined ? '' : ` Next attempt in ${formatMs(nextMs)}.`;
      line.clear();
      this.#io.err(this.#io.style('yellow', `Attempt ${tries} failed: ${error.message}${next}`));
    });
  }

  step(progress: RaceProgress): void {
    this.#line?.clear();
    this.#races.step(progress);
    this.#line?.draw();
  }

  warn(text: string): void {
    this.#line?.clear();
    this.#races.note(text);
    this.#line?.draw();
  }

  finish({ report }: CameraRaceResult): void {
    this.#line?.clear();
    this.#races.finish(report);
  }
}

/** Returns the kind of the current path; while that is a relay, waits up to `seconds` for a direct path. */
async function settle({ clock, signal }: Runtime, camera: CameraClient, seconds: number): Promise<string | undefined> {
  using limit = deadline(clock, seconds * 1_000, signal, () => new AbortedError('Time limit reached.'));
  try {
    while (camera.path?.pathKind === 'relay' && seconds > 0) {
      await camera.events.once('connected', { signal: limit.signal });
    }
  } catch (error) {
    if (!isAbort(error) || signal.aborted) throw error;
  }
  return camera.path?.pathKind;
}

function raceJson(result: CameraRaceResult): object {
  const { report: _report, ...rest } = connectResult(result);
  if (!rest.success) return rest;
  const { session: _session, ...shown } = rest;
  return shown;
}
