import type { Command } from 'commander';
import { UsageError } from '../../cli/failure.ts';
import type { Runtime } from '../../cli/runtime.ts';
import type { CameraConfig } from '../../daemon/config/config.ts';
import { loadConfig } from '../../daemon/config/config-file.ts';
import { isCameraTarget } from '../../daemon/config/schema.ts';

/** The camera of the configuration with this name; undefined when there is none. @throws ConfigError. */
export function configuredCamera(
  runtime: Pick<Runtime, 'io' | 'configFolder'>,
  name: string,
): CameraConfig | undefined {
  return loadConfig(runtime).cameras.find((camera) => camera.name.toLowerCase() === name.toLowerCase());
}

/**
 * Where a command takes a camera, replaces the name of a configured one by its target, and adds its settings: options of
 * the command line are stronger.
 * @throws UsageError for a text that is neither an address, a UID, nor a name; ConfigError.
 */
export function useConfigured(runtime: Runtime, action: Command, at: number): void {
  const given = String(action.processedArgs[at]);
  if (isCameraTarget(given)) return;
  const camera = configuredCamera(runtime, given);
  if (camera === undefined) throw unknownCamera(runtime, given);
  action.processedArgs[at] = camera.target;
  for (const [name, value] of Object.entries(settingsOf(camera))) {
    if (value !== undefined && action.getOptionValueSource(name) !== 'cli') action.setOptionValue(name, value);
  }
}

/** The settings by the names of the options. */
function settingsOf(camera: CameraConfig): Record<string, unknown> {
  const { via, servers, relays, ports, searchPort, uid, key, secretFile, timeZone, only } = camera;
  return { via, servers, relays, ports, searchPort, uid, key, secretFile, only, cameraTimeZone: timeZone };
}

/** Says what a camera is named by, and which there are. */
export function unknownCamera(runtime: Pick<Runtime, 'io' | 'configFolder'>, given: string): UsageError {
  const names = loadConfig(runtime).cameras.map(({ name }) => name);
  const known = names.length === 0 ? 'no camera was added' : `the cameras are ${names.join(', ')}`;
  return new UsageError(
    `"${given}" is not an IP address, a UID, or the name of a camera: ${known}. Next: towpath camera list, or towpath camera find`,
  );
}
