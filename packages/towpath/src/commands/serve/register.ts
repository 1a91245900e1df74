import type { Command } from 'commander';
import type { Runtime } from '../../cli/runtime.ts';
import { integer, number } from '../../cli/values.ts';

const port = integer(0, 65_535);

/** `a b`, `a,b` and `--nats a --nats b` mean the same. */
const several = (text: string, before: string[] = []): string[] => [...before, ...text.split(',')];

/** `towpath serve`, `towpath serve backup` */
export function registerServe(program: Command, runtime: Runtime): void {
  const serve = program
    .command('serve')
    .description('run a control plane for parties, with a STUN and TURN server: nothing to configure')
    .option('--address <address>', 'local address to listen on; 0.0.0.0 for the world', '127.0.0.1')
    .option('--public-address <address>', 'address under which the world reaches this machine, if it is another')
    .option('--public-name <name>', 'name that nodes are told for the relay instead of its address; TLS needs it')
    .option('--port <port>', 'TCP port of the control plane', port, 4100)
    .option('--stun-port <port>', 'UDP and TCP port of STUN and TURN', port, 3478)
    .option('--stun-tls-port <port>', 'TCP port of TURN over TLS', port, 5349)
    .option('--relay-ports <range>', 'UDP ports that relayed traffic comes from', '49152-65535')
    .option('--region <name>', 'where this machine is, as nodes are told of its relay')
    .option('--allow-peer <network...>', 'networks that may be relayed to besides the public Internet, as 10.0.0.0/8')
    .option('--tls-cert <file>', 'PEM of the certificate chain: HTTPS, and TURN over TLS')
    .option('--tls-key <file>', 'PEM of its key, mode 0600')
    .option('--data <folder>', 'where the database and the secret of the relay are; made when it is not there')
    .option('--turn-secret-file <file>', 'secret shared with further TURN servers, mode 0600')
    .option('--relay <url...>', 'further TURN servers with that secret, as [REGION=]turn:relay.example.org:3478')
    .option('--no-builtin-relay', 'no STUN and TURN here')
    .option('--nats <url...>', 'keep everything in a NATS JetStream cluster, shared with other servers', several)
    .option(
      '--nats-replicas <count>',
      'copies in the cluster: 1, 3 or 5; 3 when three servers are named',
      integer(1, 5),
    )
    .option('--nats-ca <file>', 'PEM of the authority that signed the NATS servers’ certificates')
    .option('--metrics-port <port>', 'Prometheus page of everything here, on loopback; 0 for a free port', port)
    .option('--metrics-address <address>', 'where that page is served', '127.0.0.1')
    .option('--log <format>', 'log on standard error: text or json', 'text')
    .option('--for <seconds>', 'end after this long', number(0.1, 31_536_000))
    .option('-v, --verbose', 'log every request as well')
    .option('--json', 'JSON on standard output')
    .addHelpText(
      'after',
      `
/health and /ready answer on the port of the control plane; /metrics there is for this machine alone.
User and password of NATS come from TOWPATH_NATS_USER and TOWPATH_NATS_PASSWORD, or TOWPATH_NATS_TOKEN.

Examples:
  towpath serve
  towpath serve --address 0.0.0.0 --public-address 198.51.100.7
  towpath serve --address 0.0.0.0 --public-name towpath.example.org --tls-cert cert.pem --tls-key key.pem
  towpath serve --nats 10.0.0.1:4222 10.0.0.2:4222 10.0.0.3:4222 --turn-secret-file turn.secret
`,
    )
    .action(async (options) => (await import('./serve.ts')).serve(runtime, options));
  serve
    .command('backup')
    .description('copy the database of a server to a file, while it runs or not')
    .argument('<file>', 'the copy; it may not be there yet')
    .option('--data <folder>', 'folder of the server, as it was given to serve')
    .option('--json', 'one JSON object on standard output')
    .addHelpText(
      'after',
      `
To restore, end the server and put the copy in the place of control.db in its folder; remove control.db-wal and
control.db-shm there. Members give the server back what the copy lacks.

Examples:
  towpath serve backup control-2026-05-01.db
  towpath serve backup /backup/control.db --data /var/lib/towpath
`,
    )
    .action(async (file, _, command: Command) =>
      (await import('./backup.ts')).backup(runtime, file, command.optsWithGlobals()),
    );
}
