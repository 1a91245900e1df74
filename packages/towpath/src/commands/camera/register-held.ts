import type { Command } from 'commander';
import { integer, portList, timeZone } from '../../cli/values.ts';
import type { Runtime } from '../../cli/runtime.ts';

/** Commands for the cameras that `towpath up` holds. */
export function registerHeld(camera: Command, runtime: Runtime): void {
  add(camera, runtime);
  list(camera, runtime);
  remove(camera, runtime);
}

function common(command: Command): Command {
  return command
    .option('-v, --verbose', 'log details to standard error')
    .option('--json', 'print JSON on standard output');
}

function add(camera: Command, runtime: Runtime): void {
  common(camera.command('add'))
    .description('add a camera to those that "towpath up" holds: connected, watched, new pictures fetched')
    .argument('<name>', 'letters, digits, - and _')
    .argument('<target>', "the camera's IP address or UID")
    .option('--via <member>', 'the member of the party whose network the camera is in')
    .option('--keep <limit>', 'how long and how much to keep: 90 days, 20 GB or "90 days | 20 GB" (default: forever)')
    .option('--delete-from-card <when>', 'never, or when-safe: what is on disk, complete and synced (default: never)')
    .option('--ports <list>', 'ports to try, in order of preference', portList)
    .option('--uid <uid>', "the camera's UID (default: the constant of the KJK230 family)")
    .option('--search-port <port>', 'UDP port for LAN search (default: 32108)', integer(1, 65_535))
    .option('--camera-time-zone <zone>', "time zone of the camera's clock (default: this machine's)", timeZone)
    .addHelpText(
      'after',
      `
Examples:
  towpath camera add feeder 192.168.43.1
  towpath camera add feeder 192.168.43.1 --keep "90 days | 20 GB" \\
      --delete-from-card when-safe
  towpath camera add barn 192.168.43.1 --via pi
`,
    )
    .action(async (name, target, options) => (await import('./held.ts')).add(runtime, name, target, options));
}

function list(camera: Command, runtime: Runtime): void {
  common(camera.command('list'))
    .description('list the cameras that "towpath up" holds')
    .addHelpText('after', '\nExample:\n  towpath camera list\n')
    .action(async (options) => (await import('./held.ts')).list(runtime, options));
}

function remove(camera: Command, runtime: Runtime): void {
  common(camera.command('remove'))
    .description('hold a camera no longer; its pictures stay on this machine')
    .argument('<camera>', 'name of a camera that was added')
    .addHelpText('after', '\nExample:\n  towpath camera remove feeder\n')
    .action(async (name, options) => (await import('./held.ts')).remove(runtime, name, options));
}
