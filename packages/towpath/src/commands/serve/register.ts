import { type Command, Option } from 'commander';
import type { Runtime } from '../../cli/runtime.ts';
import { DATA_PLANE_OPTION, integer, number, hostName, ipAddress } from '../../cli/values.ts';
import { LIMITS, withQuotas } from '../relay/quotas.ts';

const port = integer(0, 65_535);

/** `a b`, `a,b` and `--nats a --nats b` mean the same. */
const several = (text: string, before: string[] = []): string[] => [...before, ...text.split(',')];

/** `towpath serve`, `towpath serve backup` */
export function registerServe(program: Command, runtime: Runtime): void {
  const serve = program
    .command('serve')
    .description('run a control plane for parties, with a STUN and TURN server')
    .option('--address <address>', 'local address to listen on; 0.0.0.0 for all', ipAddress, '127.0.0.1')
    .option('--public-address <address>', 'public address of this machine, if it differs', ipAddress)
    .option(
      '--public-name <name>',
      'DNS name of the relay for nodes, instead of its address; required for TLS',
      hostName,
    )
    .option('--port <port>', 'TCP port of the control plane', port, 4100)
    .option('--stun-port <port>', 'UDP and TCP port of STUN and TURN', port, 3478)
    .option('--stun-tls-port <port>', 'TCP port of TURN over TLS', port, 5349)
    .option('--relay-ports <range>', 'range of relayed UDP ports', '49152-65535')
    .option('--region <name>', 'region of the relay, shown to nodes')
    .option(
      '--allow-peer <network...>',
      'networks that may be relayed to, in addition to the public Internet, such as 10.0.0.0/8',
    )
    .option('--tls-cert <file>', 'PEM file of the certificate chain; enables HTTPS and TURN over TLS')
    .option('--tls-key <file>', 'PEM file of its private key, mode 0600')
    .option('--data <folder>', 'folder of the database and the relay secret; created if it does not exist')
    .option('--turn-secret-file <file>', 'file with the secret shared with additional TURN servers, mode 0600')
    .option(
      '--turn-credentials <minutes>',
      'validity of TURN credentials, min; relays without --control accept a removed member for this time (default: 10)',
      integer(5, 1_440),
    )
    .option('--relay <url...>', 'additional TURN servers with that secret, as [REGION=]turn:relay.example.org:3478')
    .option(...DATA_PLANE_OPTION)
    .option('--no-builtin-relay', 'do not run STUN and TURN in this process')
    .option('--open', 'anybody can create parties; without it the first start prints a setup code')
    .option('--nats <url...>', 'use a NATS JetStream cluster as store, shared with other control servers', several)
    .option(
      '--nats-replicas <count>',
      'replicas in the cluster: 1, 3 or 5 (default: 3 with three or more servers, else 1)',
      integer(1, 5),
    )
    .option('--nats-ca <file>', 'PEM file of the certificate authority of the NATS servers')
    .option(
      '--metrics-port <port>',
      'port for Prometheus metrics of all parts; 0 for any free port (default: no metrics)',
      port,
    )
    .option('--metrics-address <address>', 'address for the metrics', ipAddress, '127.0.0.1')
    .option('--log <format>', 'log format on standard error: text or json', 'text')
    .option(
      '--for <seconds>',
      'end after this time, in seconds (default: run until interrupted)',
      number(0.1, 31_536_000),
    )
    .option('-v, --verbose', 'also log every request')
    .option('--json', 'JSON on standard output')
    .addHelpText(
      'after',
      `
/health, /ready and, from this machine only, /metrics are served on the port of the control plane.
NATS credentials: TOWPATH_NATS_USER and TOWPATH_NATS_PASSWORD, or TOWPATH_NATS_TOKEN.

Examples:
  towpath serve
  towpath serve --address 0.0.0.0 --public-address 198.51.100.7
  towpath serve --address 0.0.0.0 --public-name towpath.example.org \\
      --tls-cert cert.pem --tls-key key.pem
  towpath serve --nats 10.0.0.1:4222 10.0.0.2:4222 10.0.0.3:4222 \\
      --turn-secret-file turn.secret
`,
    )
    .action(async (options) => (await import('./serve.ts')).serve(runtime, options));
  withPartyLimits(withQuotas(serve));
  serve
    .command('setup-code')
    .description('print a code by which one more node can create parties at this server, while it runs or not')
    .option('--data <folder>', 'folder of the server, as given to serve')
    .option('--json', 'one JSON object on standard output')
    .addHelpText('after', '\nThe code works once.\n\nExample:\n  towpath serve setup-code --data /var/lib/towpath\n')
    .action(async (_, command: Command) =>
      (await import('./setup-code.ts')).setupCode(runtime, command.optsWithGlobals()),
    );
  serve
    .command('backup')
    .description('copy the database of a server to a file; the server may be running')
    .argument('<file>', 'file to write; it must not exist')
    .option('--data <folder>', 'data folder of the server, as for serve')
    .option('--json', 'one JSON object on standard output')
    .addHelpText(
      'after',
      `
To restore, stop the server, replace control.db in its data folder by the copy, and delete control.db-wal and
control.db-shm. Members send statements that are missing in the copy back to the server.

Examples:
  towpath serve backup control-2026-05-01.db
  towpath serve backup /backup/control.db --data /var/lib/towpath
`,
    )
    .action(async (file, _, command: Command) =>
      (await import('./backup.ts')).backup(runtime, file, command.optsWithGlobals()),
    );
}

/** Adds the limits of parties and founders. */
function withPartyLimits(serve: Command): void {
  const limit = (flags: string, description: string, min: number, max: number) =>
    new Option(flags, description).helpGroup(LIMITS).argParser(integer(min, max));
  serve
    .addOption(limit('--party-members <count>', 'members of one party (default: 1000)', 1, 60_000))
    .addOption(
      limit('--party-bytes <bytes>', 'log and invites of one party, bytes (default: 8388608)', 10_000, 100_000_000),
    )
    .addOption(limit('--party-codes <count>', 'invites of one party stored for their codes (default: 64)', 0, 10_000))
    .addOption(limit('--founder-parties <count>', 'parties that one node can create (default: 16)', 1, 10_000))
    .addOption(
      limit('--founder-members <count>', 'members of all parties of one founder (default: 2000)', 1, 1_000_000),
    )
    .addOption(
      limit(
        '--founder-bytes <bytes>',
        'logs and invites of all parties of one founder, bytes (default: 33554432)',
        10_000,
        10_000_000_000,
      ),
    )
    .addOption(
      limit(
        '--founder-codes <count>',
        'invites of all parties of one founder stored for their codes (default: 256)',
        0,
        100_000,
      ),
    );
}
