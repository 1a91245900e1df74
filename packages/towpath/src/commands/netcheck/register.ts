import type { Command } from 'commander';
import type { Runtime } from '../../cli/runtime.ts';
import { hostAndPort, integer } from '../../cli/values.ts';

const STUN_PORT = 3478;
const TLS_PORT = 5349;

/** `towpath netcheck` */
export function registerNetcheck(program: Command, runtime: Runtime): void {
  program
    .command('netcheck')
    .description('what this network lets through: addresses, kind of NAT, IPv6, port mapping, round trips to relays')
    .option(
      '--server <server...>',
      'STUN servers as HOST[:PORT]; one with two addresses tells most',
      hostAndPort(STUN_PORT),
    )
    .option('--relay <relay...>', 'relays (TURN) as HOST[:PORT]; tried over UDP, TCP and TLS', hostAndPort(STUN_PORT))
    .option('--tls-port <port>', 'where relays answer over TLS', integer(1, 65_535), TLS_PORT)
    .option('--ca <file>', 'PEM of the authorities to trust for TLS, instead of the system’s')
    .option('--gateway <address>', 'the router, if it is not the default gateway')
    .option('--port-mapping', 'also map a port at the router for a moment, to see that it works')
    .option('--portal <url>', 'look for a captive portal with this page over plain HTTP, which must answer 204')
    .option('-v, --verbose', 'tell the story on standard error')
    .option('--json', 'the whole report as one JSON object on standard output')
    .addHelpText(
      'after',
      `
Nothing is sent to anybody but the servers named here and your own router. The exit code is 0 whatever is found out.

Examples:
  towpath netcheck --server stun.example.org
  towpath netcheck --relay relay.example.org --relay 198.51.100.7:3478 --port-mapping
  towpath netcheck --server [2001:db8::7]:3478 --portal http://connectivity.example.org/generate_204 --json
`,
    )
    .action(async (options) => (await import('./netcheck.ts')).runNetcheck(runtime, options));
}
