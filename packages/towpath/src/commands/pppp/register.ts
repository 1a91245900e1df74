import type { Command } from 'commander';
import type { Runtime } from '../../cli/runtime.ts';
import { DATA_PLANE_OPTION, integer, number, listenPortList } from '../../cli/values.ts';

/** `towpath pppp …` */
export function registerPppp(program: Command, runtime: Runtime): void {
  const pppp = program.command('pppp').description('rendezvous and relay server for cameras (PPPP)');
  pppp
    .command('serve')
    .description('run a rendezvous and a relay server, over which clients reach cameras in other networks')
    .option('--address <address>', 'local address to listen on; 0.0.0.0 for all', '127.0.0.1')
    .option(
      '--public-address <address>',
      'address at which clients reach this machine, where it differs from --address',
    )
    .option(
      '--ports <list>',
      'UDP ports of the rendezvous, the first one also TCP; clients behind symmetric NATs use further ones; 0 for a free port',
      listenPortList,
      [32_100],
    )
    .option('--relay-port <port>', 'UDP and TCP base port of the relay', integer(0, 65_535), 32_110)
    .option(...DATA_PLANE_OPTION)
    .option('--no-relay', 'run the rendezvous alone')
    .option('--secrets <file>', 'JSON file {"UID": "secret"}, mode 0600: these devices must log in with theirs')
    .option(
      '--clients-need-secret',
      'refuse clients that do not show the secret of the device that they ask for, directly and by relay',
    )
    .option('--prefix <prefix...>', 'serve only devices whose UID has one of these prefixes')
    .option(
      '--metrics-port <port>',
      'port for Prometheus metrics on loopback; 0 for any free port (default: no metrics)',
      integer(0, 65_535),
    )
    .option(
      '--for <seconds>',
      'end after this time, in seconds (default: run until interrupted)',
      number(0.1, 31_536_000),
    )
    .option('-v, --verbose', 'log details to standard error')
    .option('--json', 'JSON Lines on standard output')
    .addHelpText(
      'after',
      `
Prints which devices log in and leave, who asks for them, and which sessions are relayed. Without --secrets everybody can
log in as any device that is not online; with it, the devices in the file need their secret.

Examples:
  towpath pppp serve
  towpath pppp serve --address 0.0.0.0 --public-address 198.51.100.7 \\
      --secrets secrets.json --metrics-port 9464
`,
    )
    .action(async (options) => (await import('./serve.ts')).serve(runtime, options));
}
