import { join } from 'node:path';
import { type ControlServer, startControlServer } from '@towpath/control';
import { deadlineInterval, errorCode, errorMessage, type Log, TowpathError } from '@towpath/core';
import { formatEndpoint } from '@towpath/net';
import { UsageError } from '../../cli/failure.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { readSecret } from '../../config/secret-file.ts';
import { MetricsServer } from '../../serve/metrics-server.ts';
import { untilOver } from '../../serve/run-time.ts';
import { serverLog } from '../../serve/server-log.ts';
import type { RelayPlan } from '../relay/plan.ts';
import { type RelayComponents, RelayNode } from '../relay/relay-node.ts';
import { createSecret, readSecrets } from '../relay/secrets.ts';
import { dataFolder } from './data-folder.ts';
import { openStore, readText, type StoreOptions } from './open-store.ts';
import { type BuiltinRelayOptions, builtinRelay, builtinRelayPlan, fleet, MAX_ALLOCATIONS } from './relays.ts';

interface ServeOptions extends CommonOptions, StoreOptions, BuiltinRelayOptions {
  port: number;
  tlsCert?: string;
  tlsKey?: string;
  data?: string;
  turnSecretFile?: string;
  relay?: string[];
  builtinRelay: boolean;
  metricsPort?: number;
  metricsAddress: string;
  log: string;
  /** Seconds. */
  for?: number;
}

/** A report of a relay is good for three times as long. */
const REPORT_EVERY_MS = 10_000;

/** Runs control plane, STUN and TURN until the process is asked to end or the time is up. */
export async function serve(runtime: Runtime, options: ServeOptions): Promise<void> {
  const { io, clock, random, network } = runtime;
  const log = logOf(runtime, options);
  const tls = tlsOf(options);
  const relays = fleet(options.relay ?? []);
  const folder = dataFolder(runtime, options.data);
  await using stack = new AsyncDisposableStack();
  const store = await openStore({ clock, random, log, io }, folder, options, stack);
  const secrets = turnSecrets(runtime, options, folder);
  const plan = options.builtinRelay ? builtinRelayPlan(runtime, options, secrets, tls) : undefined;
  const relay = plan && stack.use(await openRelay({ network, clock, random, log }, plan));
  const control = stack.use(
    await startControl(
      { store, clock, random, log },
      {
        host: options.address,
        port: options.port,
        relays,
        ...(tls === undefined ? {} : { tls }),
        ...(secrets[0] === undefined ? {} : { turnSecret: secrets[0] }),
      },
    ),
  );
  if (plan !== undefined && relay !== undefined)
    stack.use(await reportRelay({ control, relay, plan, log }, runtime, options));
  const { hostname, port } = new URL(control.address);
  announce(runtime, options, 'control', control.address, {
    endpoints: [{ address: hostname.replace(/[[\]]/g, ''), port: Number(port) }],
    store: options.nats ?? folder,
  });
  for (const { what, endpoints } of relay?.listening ?? []) {
    announce(runtime, options, `turn-${what}`, endpoints.map(formatEndpoint).join(', '), { endpoints });
  }
  if (options.metricsPort !== undefined) {
    const metrics = stack.use(new MetricsServer());
    if (relay !== undefined) metrics.add('towpath_turn', () => relay.metrics);
    metrics.append(async () => (await control.inject({ url: '/metrics' })).body);
    const endpoint = await metrics.listen({ address: options.metricsAddress, port: options.metricsPort });
    announce(runtime, options, 'metrics', `http://${formatEndpoint(endpoint)}/metrics`, { endpoints: [endpoint] });
  }
  log.info('serving', { control: control.address, store: options.nats?.join(', ') ?? folder });
  await untilOver(runtime, options.for);
  log.info('shutting down');
}

function logOf({ io, clock }: Runtime, { log, verbose = false }: ServeOptions): Log {
  if (log !== 'text' && log !== 'json') throw new UsageError('--log takes text or json.');
  return serverLog(io, clock, { json: log === 'json', verbose });
}

function tlsOf({ tlsCert, tlsKey }: ServeOptions): { cert: string; key: string } | undefined {
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined) throw new UsageError('TLS takes both --tls-cert and --tls-key.');
  return { cert: readText(tlsCert), key: readSecret(tlsKey) };
}

/** The secrets that TURN credentials are made from, the present one first; none when there is no relay at all. */
function turnSecrets({ random }: Runtime, options: ServeOptions, folder: string): string[] {
  const { turnSecretFile, builtinRelay: builtin, relay, nats } = options;
  if (turnSecretFile !== undefined) return readSecrets(turnSecretFile);
  if (relay !== undefined) {
    throw new UsageError('Further relays share a secret with this server: say --turn-secret-file FILE.');
  }
  if (!builtin) return [];
  if (nats !== undefined) {
    throw new UsageError(
      'Servers on one cluster share their relays: say --turn-secret-file FILE, the same on all of them, or --no-builtin-relay.',
    );
  }
  const file = join(folder, 'turn.secret');
  createSecret(file, random);
  return readSecrets(file);
}

/** Where the system chooses the port for UDP, the same one may be taken for TCP: then it chooses again. */
async function openRelay(components: RelayComponents, plan: RelayPlan, tries = 5): Promise<RelayNode> {
  try {
    return await RelayNode.open(components, plan);
  } catch (error) {
    if (plan.port === 0 && tries > 1 && errorCode(error) === 'address-in-use') {
      return openRelay(components, plan, tries - 1);
    }
    throw error;
  }
}

async function startControl(...[components, init]: Parameters<typeof startControlServer>): Promise<ControlServer> {
  try {
    return await startControlServer(components, init);
  } catch (cause) {
    const code = errorCode(cause);
    const known = { EADDRINUSE: 'address-in-use', EADDRNOTAVAIL: 'address-not-available', EACCES: 'permission-denied' }[
      code
    ];
    if (known === undefined) throw cause;
    const place = `${init?.host}:${init?.port}`;
    const advice = `Next: choose another --port or --address, or end what uses it.`;
    throw new TowpathError(known, `The control plane cannot listen on ${place}: ${errorMessage(cause)}. ${advice}`, {
      target: place,
      cause,
    });
  }
}

/** Tells the control plane of the relay in this process, now and again with its load. */
async function reportRelay(
  { control, relay, plan, log }: { control: ControlServer; relay: RelayNode; plan: RelayPlan; log: Log },
  { clock }: Runtime,
  options: ServeOptions,
): Promise<Disposable> {
  const report = () => {
    const { allocations } = relay.metrics;
    const load = typeof allocations === 'number' ? allocations / MAX_ALLOCATIONS : 0;
    return control.service.reportOwnRelay(builtinRelay(plan, options, relay.listening, load));
  };
  await report();
  const timer = deadlineInterval({
    clock,
    intervalMs: REPORT_EVERY_MS,
    onTick: () => {
      report().catch((error: unknown) => log.warn('the relay could not be put on the list', { error }));
    },
  });
  return { [Symbol.dispose]: () => timer.cancel() };
}

function announce(
  { io }: Runtime,
  { json }: ServeOptions,
  what: string,
  place: string,
  more: Readonly<Record<string, unknown>>,
): void {
  if (json) io.out(JSON.stringify({ type: 'listening', what, place, ...more }));
  else io.out(`${what.padEnd(9)} listens on ${place}`);
}
