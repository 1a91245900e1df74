import { type Endpoint, formatEndpoint, isUnspecified } from '@towpath/net';
import { parseUid, RelayServer, RendezvousServer } from '@towpath/pppp';
import { z } from 'zod';
import { UsageError } from '../../cli/failure.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { readSecret } from '../../config/secret-file.ts';
import { MetricsServer } from '../../serve/metrics-server.ts';
import { untilOver } from '../../serve/run-time.ts';

interface ServeOptions extends CommonOptions {
  address: string;
  publicAddress?: string;
  ports: number[];
  relayPort: number;
  relay: boolean;
  secrets?: string;
  clientsNeedSecret?: boolean;
  prefix?: string[];
  metricsPort?: number;
  /** Seconds. */
  for?: number;
}

/** Runs the servers until Ctrl-C or until the time is up. */
export async function serve(runtime: Runtime, options: ServeOptions): Promise<void> {
  const { io, network, clock, random, log } = runtime;
  const components = { network, clock, random, log };
  const { address, publicAddress = address } = options;
  if (options.relay && isUnspecified(publicAddress)) {
    throw new UsageError('The relay is named to clients by address: say --public-address, or --no-relay.');
  }
  const secrets = options.secrets === undefined ? undefined : readSecrets(options.secrets);
  await using stack = new AsyncDisposableStack();
  const relay = options.relay
    ? stack.use(await RelayServer.listen(components, { address, port: options.relayPort }))
    : undefined;
  const relays = relay ? [{ address: publicAddress, port: relay.endpoint.port }] : [];
  const rendezvous = stack.use(
    await RendezvousServer.listen(components, {
      address,
      ports: options.ports,
      relays,
      ...(secrets === undefined ? {} : { deviceSecret: (uid) => secrets.get(uid) }),
      ...(options.clientsNeedSecret === undefined ? {} : { clientsNeedSecret: options.clientsNeedSecret }),
      ...(options.prefix === undefined ? {} : { prefixes: options.prefix }),
    }),
  );
  announce(runtime, options, 'rendezvous', rendezvous.endpoints);
  if (relay) announce(runtime, options, 'relay', [relay.endpoint]);
  if (options.metricsPort !== undefined) {
    const metrics = stack.use(new MetricsServer());
    metrics.add('towpath_rendezvous', () => ({ ...rendezvous.metrics, tcp: { ...rendezvous.metrics.tcp } }));
    if (relay) metrics.add('towpath_relay', () => ({ ...relay.metrics, tcp: { ...relay.metrics.tcp } }));
    announce(runtime, options, 'metrics', [await metrics.listen({ address: '127.0.0.1', port: options.metricsPort })]);
  }
  await untilOver(runtime, options.for);
  if (!options.json) io.err('Shutting down.');
}

function announce({ io }: Runtime, { json }: ServeOptions, what: string, endpoints: readonly Endpoint[]): void {
  if (json) io.out(JSON.stringify({ type: 'listening', what, endpoints }));
  else io.out(`${what.padEnd(10)} listens on ${endpoints.map(formatEndpoint).join(', ')}`);
}

const secretsSchema = z.record(z.string(), z.string().min(1).max(20));

function readSecrets(file: string): Map<string, string> {
  const parsed = secretsSchema.safeParse(jsonOf(readSecret(file), file));
  if (!parsed.success) throw new UsageError(`${file} is not {"UID": "secret"} with secrets of 1 to 20 characters.`);
  return new Map(Object.entries(parsed.data).map(([uid, secret]) => [parseUid(uid), secret]));
}

function jsonOf(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's own message could repeat a secret.
    throw new UsageError(`${file} is not JSON.`);
  }
}
