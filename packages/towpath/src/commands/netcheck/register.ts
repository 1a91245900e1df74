import type { Command } from 'commander';
import type { Runtime } from '../../cli/runtime.ts';
import { hostAndPort, integer } from '../../cli/values.ts';

const STUN_PORT = 3478;
const TLS_PORT = 5349;

/** `towpath netcheck` */
export function registerNetcheck(program: Command, runtime: Runtime): void {
  program
    .command('netcheck')
    .description(
      'report what this network lets through: addresses, NAT behaviour, IPv6, port mapping, round-trip times to relays',
    )
    .option(
      '--server <server...>',
      'STUN servers as HOST[:PORT]; NAT behaviour needs one with two addresses (RFC 5780)',
      hostAndPort(STUN_PORT),
    )
    .option('--relay <relay...>', 'TURN servers as HOST[:PORT]; tested over UDP, TCP and TLS', hostAndPort(STUN_PORT))
    .option('--tls-port <port>', 'TLS port of the TURN servers', integer(1, 65_535), TLS_PORT)
    .option('--ca <file>', 'PEM file of trusted certificate authorities, instead of those of the system')
    .option('--gateway <address>', 'address of the router (default: the default gateway)')
    .option('--port-mapping', 'also create a port mapping at the router and delete it, to test that it works')
    .option('--portal <url>', 'test for a captive portal with this http:// page, which must answer 204')
    .option('-v, --verbose', 'log details to standard error')
    .option('--json', 'print the report as one JSON object')
    .addHelpText(
      'after',
      `
Contacts only the servers named here and your router. The exit code is 0 whatever the result.

Examples:
  towpath netcheck --server stun.example.org
  towpath netcheck --relay relay.example.org --relay 198.51.100.7:3478 \\
      --port-mapping
  towpath netcheck --server [2001:db8::7]:3478 \\
      --portal http://connectivity.example.org/generate_204 --json
`,
    )
    .action(async (options) => (await import('./netcheck.ts')).runNetcheck(runtime, options));
}
