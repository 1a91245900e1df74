import type { Command } from 'commander';
import type { Runtime } from '../../cli/runtime.ts';
import { integer, number, listenPortList } from '../../cli/values.ts';

/** `towpath pppp …` */
export function registerPppp(program: Command, runtime: Runtime): void {
  const pppp = program
    .command('pppp')
    .description("the servers of the cameras' transport: a rendezvous and a relay of your own");
  pppp
    .command('serve')
    .description('run a rendezvous and a relay, so that cameras are reached from far away without anybody’s cloud')
    .option('--address <address>', 'local address to listen on; 0.0.0.0 for the world', '127.0.0.1')
    .option('--public-address <address>', 'address under which the world reaches this machine, if it is another')
    .option(
      '--ports <list>',
      'UDP ports of the rendezvous, the first one TCP too; further ones measure the port step of NATs; 0 for a free port',
      listenPortList,
      [32_100],
    )
    .option('--relay-port <port>', 'UDP and TCP base port of the relay', integer(0, 65_535), 32_110)
    .option('--no-relay', 'only the rendezvous')
    .option('--secrets <file>', 'JSON file {"UID": "secret"}, mode 0600: these devices must log in with theirs')
    .option('--clients-need-secret', 'clients must know the secret of the device that they ask for')
    .option('--prefix <prefix...>', 'serve only devices whose UID begins so')
    .option('--metrics-port <port>', 'Prometheus page on loopback; 0 for a free port', integer(0, 65_535))
    .option('--for <seconds>', 'end after this long', number(0.1, 31_536_000))
    .option('-v, --verbose', 'tell the story on standard error')
    .option('--json', 'JSON on standard output')
    .addHelpText(
      'after',
      `
Examples:
  towpath pppp serve
  towpath pppp serve --address 0.0.0.0 --public-address 198.51.100.7 --secrets secrets.json --metrics-port 9464
`,
    )
    .action(async (options) => (await import('./serve.ts')).serve(runtime, options));
}
