import type { Command } from 'commander';
import type { Runtime } from '../../cli/runtime.ts';
import { integer, number } from '../../cli/values.ts';

const port = integer(0, 65_535);
const count = integer(1, 10_000_000);

/** `towpath relay …` */
export function registerRelay(program: Command, runtime: Runtime): void {
  const relay = program.command('relay').description('a STUN and TURN server of your own, for peers');
  serve(relay, runtime);
  credentials(relay, runtime);
}

function serve(relay: Command, runtime: Runtime): void {
  relay
    .command('serve')
    .description('run a STUN and TURN server: it tells peers their addresses and relays where nothing direct works')
    .option('--address <address...>', 'addresses to listen on; a second one serves behaviour tests', ['127.0.0.1'])
    .option('--port <port>', 'UDP and TCP port', port, 3478)
    .option('--alternate-port <port>', 'second UDP port for behaviour tests; with two addresses the next one', port)
    .option('--no-tcp', 'no clients over TCP')
    .option('--tls-port <port>', 'port for clients over TLS', port, 5349)
    .option('--tls-cert <file>', 'PEM of the certificate chain; TLS is served when it is given')
    .option('--tls-key <file>', 'PEM of its key, mode 0600')
    .option('--no-relay', 'STUN alone, for which nobody logs in')
    .option('--relay-address <address...>', 'where relayed ports are opened, one per family; the first listening ones')
    .option('--public-address <address...>', 'what clients are told instead, behind a one-to-one NAT')
    .option('--relay-ports <range>', 'relayed ports', '49152-65535')
    .option('--realm <realm>', 'realm of logins', 'towpath')
    .option(
      '--secret-file <file>',
      'file with the secret of time-limited credentials, mode 0600; a second line is the old one',
    )
    .option('--create-secret', 'make that file when it is not there')
    .option('--user <name>', 'also a user with a fixed password, from TOWPATH_RELAY_PASSWORD or a file')
    .option('--password-file <file>', 'file with that password, mode 0600')
    .option('--allow-peer <network...>', 'networks that may be relayed to besides the public Internet, as 10.0.0.0/8')
    .option('--deny-peer <network...>', 'networks that may never be relayed to')
    .option('--max-allocations <count>', 'allocations at a time (4096)', count)
    .option('--max-connections <count>', 'TCP and TLS connections at a time (4096)', count)
    .option('--user-allocations <count>', 'allocations of one user at a time (32)', count)
    .option('--user-requests <count>', 'requests of one user per second (200)', count)
    .option(
      '--user-bandwidth <kilobytes>',
      'relayed kilobytes of one user per second (no limit)',
      number(1, 10_000_000),
    )
    .option('--source-requests <count>', 'requests without login from one address per second (200)', count)
    .option('--workers <count>', 'processes that share the ports', integer(1, 256), 1)
    .option('--metrics-port <port>', 'Prometheus page on loopback; 0 for a free port', port)
    .option('--for <seconds>', 'end after this long', number(0.1, 31_536_000))
    .option('-v, --verbose', 'tell the story on standard error')
    .option('--json', 'JSON on standard output')
    .addHelpText(
      'after',
      `
Clients may relay to the public Internet and to each other. Loopback, link-local and private networks are refused
unless --allow-peer names them.

With --workers the kernel decides by a hash of both addresses and ports which process a client comes to. Each has its
own limits, so that a user may have them as often as there are workers. TCP allocations (RFC 6062) are refused then,
and reserved port pairs may be.

Examples:
  towpath relay serve --secret-file relay.secret --create-secret
  towpath relay serve --address 198.51.100.7 198.51.100.8 --secret-file relay.secret --tls-cert cert.pem --tls-key key.pem
  towpath relay serve --address 0.0.0.0 --relay-address 10.0.0.5 --public-address 198.51.100.7 --secret-file relay.secret
  towpath relay serve --no-relay --address 198.51.100.7 198.51.100.8
`,
    )
    .action(async (options) => (await import('./serve.ts')).serveRelay(runtime, options));
}

function credentials(relay: Command, runtime: Runtime): void {
  relay
    .command('credentials')
    .description('print a user name and a password that a relay with the same secret accepts for a while')
    .argument('<user>', 'who they are for; quotas are counted by it')
    .requiredOption('--secret-file <file>', 'file with the secret, mode 0600')
    .option('--lifetime <seconds>', 'how long they work', integer(1, 31_536_000), 86_400)
    .option('--json', 'one JSON object on standard output')
    .addHelpText(
      'after',
      `
Examples:
  towpath relay credentials alice --secret-file relay.secret
  towpath relay credentials alice --secret-file relay.secret --lifetime 3600 --json
`,
    )
    .action(async (user, options) => (await import('./credentials.ts')).credentials(runtime, user, options));
}
