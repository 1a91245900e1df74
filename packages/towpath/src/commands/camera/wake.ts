import { isAbort } from '@towpath/core';
import { UsageError } from '../../cli/failure.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { readSecretInput } from '../../cli/secret-input.ts';
import { oneLine } from '../../cli/terminal-text.ts';
import { Hotspots } from '../../config/hotspots.ts';
import { type JoinOptions, joinHotspot, openBus, type TellPhase, type WakeOptions, wakeCamera } from './hotspot.ts';
import { printJson } from '../../cli/json-output.ts';

interface WakeCommandOptions extends WakeOptions, CommonOptions {
  showPassword?: boolean;
}

interface JoinCommandOptions extends JoinOptions, CommonOptions {
  /** Ask for the password instead of using the stored one. */
  askPassword?: boolean;
  /** Seconds. */
  for?: number;
}

/** `towpath camera wake` */
export async function wake(runtime: Runtime, options: WakeCommandOptions): Promise<void> {
  const { io, configFolder } = runtime;
  await using bus = await openBus(runtime);
  const hotspot = await wakeCamera(runtime, bus, options, phaseTeller(runtime, options));
  const { ssid, bssid, device, name, password } = hotspot;
  if (options.json) {
    printJson(io, 'hotspot', { device, name, ssid, bssid, ...(options.showPassword ? { password } : {}) });
    return;
  }
  io.out(`${io.style('green', '✓')} ${oneLine(`${name || device} opens the hotspot ${ssid}`)}`);
  if (options.showPassword) io.out(oneLine(`  password ${password}`));
  io.err(`Stored in ${new Hotspots(configFolder).path}. Next: towpath camera join`);
}

/** `towpath camera join`: stays in the hotspot until it is ended. */
export async function join(runtime: Runtime, ssid: string | undefined, options: JoinCommandOptions): Promise<void> {
  const { io, clock, configFolder, signal } = runtime;
  const hotspots = new Hotspots(configFolder).list();
  const known = ssid === undefined ? hotspots[0] : hotspots.find((hotspot) => hotspot.ssid === ssid);
  const name = ssid ?? known?.ssid;
  if (name === undefined) {
    throw new UsageError('No camera was woken yet. Next: towpath camera wake, or name the network.');
  }
  const ask = options.askPassword || known === undefined;
  const password = ask ? await readSecretInput(runtime, `Password of ${name}`) : known.password;
  await using bus = await openBus(runtime);
  await using joined = await joinHotspot(
    runtime,
    bus,
    { ssid: name, password },
    options,
    phaseTeller(runtime, options),
  );
  const { device, address, lost } = joined;
  if (options.json) printJson(io, 'hotspot-joined', { ssid: name, device, address });
  else
    io.out(
      `${io.style('green', '✓')} ${oneLine(`joined ${name} on ${device}, address ${address}. Ctrl-C leaves it.`)}`,
    );
  try {
    await clock.sleep((options.for ?? Number.POSITIVE_INFINITY) * 1_000, AbortSignal.any([signal, lost]));
  } catch (error) {
    if (lost.aborted) throw lost.reason;
    if (!signal.aborted && !isAbort(error)) throw error;
  }
}

/** Prints each phase on standard error, or as an object. */
export function phaseTeller({ io }: Pick<Runtime, 'io'>, { json }: { json?: boolean }): TellPhase {
  return (step, phase, text) => {
    if (json) printJson(io, step, { phase });
    else io.err(io.style('dim', oneLine(`  ${text} …`)));
  };
}
