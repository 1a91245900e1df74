import { type Command, Option } from 'commander';
import type { Runtime } from '../../cli/runtime.ts';
import { number } from '../../cli/values.ts';

/** Heading of the options of Bluetooth and Wi-Fi. */
const WAKE = 'Wake options:';

/** Adds the options that choose the camera and the adapters. */
export function withWake(command: Command, parts: { bluetooth: boolean; wifi: boolean }): Command {
  const option = (flags: string, text: string) => command.addOption(new Option(flags, text).helpGroup(WAKE));
  if (parts.bluetooth) {
    option('--bluetooth <device>', "the camera's Bluetooth address, or how its name begins (default: TC100_)");
    option('--bluetooth-adapter <name>', 'Bluetooth adapter, such as hci0 (default: the first one that is on)');
  }
  if (parts.wifi) option('--wifi-device <name>', 'Wi-Fi adapter, such as wlan0 (default: one without a connection)');
  return command;
}

export function registerWake(camera: Command, runtime: Runtime): void {
  const wake = camera
    .command('wake')
    .description('wake a camera over Bluetooth, so that it opens its Wi-Fi hotspot (Linux, BlueZ)')
    .option('--show-password', 'print the password of the hotspot')
    .option('-v, --verbose', 'log details to standard error')
    .option('--json', 'print JSON on standard output');
  withWake(wake, { bluetooth: true, wifi: false })
    .addHelpText(
      'after',
      `
The password is stored in the configuration folder, readable by this user only.

Examples:
  towpath camera wake
  towpath camera wake --bluetooth C2:00:5E:00:53:0A --json
`,
    )
    .action(async (options) => (await import('./wake.ts')).wake(runtime, options));

  const join = camera
    .command('join')
    .description("join a camera's Wi-Fi hotspot until ended; never the default route (Linux, NetworkManager)")
    .argument('[ssid]', 'name of the network (default: that of the camera that was woken last)')
    .option('--ask-password', 'ask for the password, or read it from standard input, instead of using the stored one')
    .option(
      '--for <seconds>',
      'leave after this time, in seconds (default: stay until interrupted)',
      number(0.1, 31_536_000),
    )
    .option('-v, --verbose', 'log details to standard error')
    .option('--json', 'print JSON on standard output');
  withWake(join, { bluetooth: false, wifi: true })
    .addHelpText('after', '\nExamples:\n  towpath camera join\n  towpath camera join KJK_5301 --ask-password\n')
    .action(async (ssid, options) => (await import('./wake.ts')).join(runtime, ssid, options));
}
