import { type Command, Option } from 'commander';
import type { Runtime } from '../../cli/runtime.ts';
import { DATA_PLANE_OPTION, integer, number, ipAddresses } from '../../cli/values.ts';
import { LIMITS, withQuotas } from './quotas.ts';

const port = integer(0, 65_535);
const count = integer(1, 10_000_000);

/** `towpath relay …` */
export function registerRelay(program: Command, runtime: Runtime): void {
  const relay = program.command('relay').description('STUN and TURN server for peers');
  serve(relay, runtime);
  credentials(relay, runtime);
}

function serve(relay: Command, runtime: Runtime): void {
  const command = relay
    .command('serve')
    .description('run a STUN and TURN server')
    .option(
      '--address <address...>',
      'addresses to listen on, 0.0.0.0 or :: for all; with a second one NAT behaviour can be measured (RFC 5780)',
      ['127.0.0.1'],
    )
    .option('--port <port>', 'UDP and TCP port', port, 3478)
    .option(
      '--alternate-port <port>',
      'second UDP port for RFC 5780 (default: port + 1 with two addresses, else none)',
      port,
    )
    .option('--no-tcp', 'do not accept clients over TCP')
    .option('--tls-port <port>', 'TLS port', port, 5349)
    .option('--tls-cert <file>', 'PEM file of the certificate chain; enables TLS')
    .option('--tls-key <file>', 'PEM file of its private key, mode 0600')
    .option('--no-relay', 'STUN only; needs no credentials')
    .option(
      '--relay-address <address...>',
      'addresses for relayed ports, one per family (default: the first listening address of each family; for 0.0.0.0 and :: the public address where this host has it)',
      ipAddresses,
    )
    .option(
      '--public-address <address...>',
      'public addresses for the relay addresses, behind a one-to-one NAT',
      ipAddresses,
    )
    .option('--relay-ports <range>', 'range of relayed ports', '49152-65535')
    .option('--realm <realm>', 'STUN realm', 'towpath')
    .option(
      '--secret-file <file>',
      'file with the shared secret of time-limited credentials, mode 0600; a second line holds the previous secret',
    )
    .option('--create-secret', 'create that file if it does not exist')
    .option(
      '--control <url...>',
      'control servers that issue these credentials; members that were removed there lose their relaying here',
    )
    .option('--control-ca <file>', 'PEM file of the certificate authority of the control servers')
    .option('--user <name>', 'also accept this user, with the password from TOWPATH_RELAY_PASSWORD or --password-file')
    .option('--password-file <file>', 'file with that password, mode 0600')
    .option(
      '--allow-peer <network...>',
      'networks that may be relayed to, in addition to the public Internet, such as 10.0.0.0/8',
    )
    .option('--deny-peer <network...>', 'networks that must not be relayed to')
    .option(...DATA_PLANE_OPTION)
    .option('--workers <count>', 'number of processes that share the ports', integer(1, 256), 1)
    .option(
      '--metrics-port <port>',
      'port for Prometheus metrics on loopback; 0 for any free port (default: no metrics)',
      port,
    )
    .option(
      '--for <seconds>',
      'end after this time, in seconds (default: run until interrupted)',
      number(0.1, 31_536_000),
    )
    .option('-v, --verbose', 'log details to standard error')
    .option('--json', 'JSON on standard output')
    .addHelpText(
      'after',
      `
Clients can relay to the public Internet and to each other. Loopback, link-local and private networks are refused
unless --allow-peer allows them.

The relay asks the servers of --control every 5 s which of its users were removed from their party. Without it a
removed member can relay until its credentials expire, which are valid for 10 minutes.

With --workers the kernel assigns each client to a process by a hash of addresses and ports. Limits apply to each
process separately. TCP allocations (RFC 6062) are then refused, and reserved port pairs may be refused.

Examples:
  towpath relay serve --secret-file relay.secret --create-secret
  towpath relay serve --address 198.51.100.7 198.51.100.8 \\
      --secret-file relay.secret --tls-cert cert.pem --tls-key key.pem
  towpath relay serve --address 0.0.0.0 --relay-address 10.0.0.5 \\
      --public-address 198.51.100.7 --secret-file relay.secret
  towpath relay serve --address 198.51.100.9 --secret-file turn.secret \\
      --control https://towpath.example.org:4100
  towpath relay serve --no-relay --address 198.51.100.7 198.51.100.8
`,
    )
    .action(async (options) => (await import('./serve.ts')).serveRelay(runtime, options));
  const limit = (flags: string, description: string) =>
    new Option(flags, description).helpGroup(LIMITS).argParser(count);
  withQuotas(command)
    .addOption(limit('--user-requests <count>', 'requests of one user per second (default: 200)'))
    .addOption(limit('--max-connections <count>', 'TCP and TLS connections at the same time (default: 4096)'))
    .addOption(limit('--address-connections <count>', 'of these from one address or IPv6 /64 (default: 256)'))
    .addOption(
      limit(
        '--source-requests <count>',
        'unauthenticated requests answered per second to one network, IPv4 /24 or IPv6 /56 (default: 100)',
      ),
    )
    .addOption(
      limit(
        '--source-bindings <count>',
        'Binding requests answered per second to one network, IPv4 /24 or IPv6 /56 (default: 500)',
      ),
    );
}

function credentials(relay: Command, runtime: Runtime): void {
  relay
    .command('credentials')
    .description('print time-limited credentials for a relay that has the same secret')
    .argument('<user>', 'user name, for quotas')
    .requiredOption('--secret-file <file>', 'file with the secret, mode 0600')
    .option('--lifetime <seconds>', 'validity, in seconds', integer(1, 31_536_000), 86_400)
    .option('--json', 'one JSON object on standard output')
    .addHelpText(
      'after',
      `
Examples:
  towpath relay credentials alice --secret-file relay.secret
  towpath relay credentials alice --secret-file relay.secret --lifetime 3600 \\
      --json
`,
    )
    .action(async (user, options) => (await import('./credentials.ts')).credentials(runtime, user, options));
}
