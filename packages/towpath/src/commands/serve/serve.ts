import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { type ControlServer, type PartyLimitOptions, startControlServer } from '@towpath/control/server';
import { deadlineInterval, errorCode, errorMessage, type Log, TowpathError } from '@towpath/core';
import { formatEndpoint, isUnspecified } from '@towpath/net';
import { UsageError } from '../../cli/failure.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { readTlsFiles } from '../../config/tls-files.ts';
import { MetricsServer } from '../../serve/metrics-server.ts';
import { announcePlane } from '../../serve/kernel-plane.ts';
import { untilOver } from '../../serve/run-time.ts';
import { serverLog } from '../../serve/server-log.ts';
import type { RelayPlan } from '../relay/plan.ts';
import { addRelayMetrics, RelayNode } from '../relay/relay-node.ts';
import { given } from '../relay/quotas.ts';
import { createSecret, readSecrets } from '../relay/secrets.ts';
import { dataFolder } from './data-folder.ts';
import { openStore, type StoreOptions } from './open-store.ts';
import { type BuiltinRelayOptions, builtinRelay, builtinRelayPlan, fleet, MAX_ALLOCATIONS } from './relays.ts';
import { printJson } from '../../cli/json-output.ts';

interface ServeOptions extends CommonOptions, StoreOptions, BuiltinRelayOptions {
  open?: boolean;
  partyMembers?: number;
  partyBytes?: number;
  partyCodes?: number;
  founderParties?: number;
  founderMembers?: number;
  founderBytes?: number;
  founderCodes?: number;
  port: number;
  tlsCert?: string;
  tlsKey?: string;
  data?: string;
  turnSecretFile?: string;
  /** Minutes. */
  turnCredentials?: number;
  relay?: string[];
  builtinRelay: boolean;
  metricsPort?: number;
  metricsAddress: string;
  log: string;
  /** Seconds. */
  for?: number;
}

/** Interval of relay reports; a report is valid for three times as long. */
const REPORT_EVERY_MS = 10_000;

/** How often the members behind allocations are looked up. */
const REVOKED_EVERY_MS = 5_000;

/** Runs control plane, STUN and TURN until the process is asked to end or until the time limit. */
export async function serve(runtime: Runtime, options: ServeOptions): Promise<void> {
  const { io, clock, random, network } = runtime;
  const log = logOf(runtime, options);
  const tls = readTlsFiles(options, clock.wallTime(), (text) => io.err(text));
  const relays = fleet(options.relay ?? []);
  const folder = dataFolder(runtime, options.data);
  await using stack = new AsyncDisposableStack();
  const store = await openStore({ clock, random, log, io }, folder, options, stack);
  const secrets = turnSecrets(runtime, options, folder);
  const plan = options.builtinRelay ? builtinRelayPlan(runtime, options, secrets, tls) : undefined;
  let service: ControlServer['service'] | undefined;
  const isRevoked = (user: string) => service?.isTurnUserRevoked(user) ?? false;
  const relay = plan && stack.use(await RelayNode.open({ network, clock, random, log, isRevoked }, plan));
  const control = stack.use(
    await startControl(
      { store, clock, random, log },
      {
        host: options.address,
        port: options.port,
        relays,
        names: serverNames(options, tls?.cert),
        founding: options.open ? 'open' : 'setup-code',
        partyLimits: partyLimits(options),
        onTurnUsersRevoked: (users) => relay?.endAllocations((user) => users.includes(user)),
        ...(tls === undefined ? {} : { tls }),
        ...(secrets[0] === undefined ? {} : { turnSecret: secrets[0], previousTurnSecrets: secrets.slice(1) }),
        ...(options.turnCredentials === undefined
          ? {}
          : { turnCredentialsValidForMs: options.turnCredentials * 60_000 }),
      },
    ),
  );
  service = control.service;
  if (plan !== undefined && relay !== undefined)
    stack.use(await reportRelay({ control, relay, plan, log }, runtime, options));
  if (relay !== undefined) stack.use(endRevoked(runtime, relay, isRevoked));
  const { hostname, port } = new URL(control.address);
  announce(runtime, options, 'control', control.address, {
    endpoints: [{ address: hostname.replace(/[[\]]/g, ''), port: Number(port) }],
    store: options.nats ?? folder,
  });
  for (const { what, endpoints } of relay?.listening ?? []) {
    announce(runtime, options, `turn-${what}`, endpoints.map(formatEndpoint).join(', '), { endpoints });
  }
  if (relay !== undefined) announcePlane(io, options.json, relay.dataPlane);
  if (!options.open && !(await service.hasFounders())) await printSetupCode(runtime, options, control);
  if (options.metricsPort !== undefined) {
    const names = options.publicName === undefined ? [] : [options.publicName];
    const metrics = stack.use(new MetricsServer({ names }));
    if (plan !== undefined && relay !== undefined) addRelayMetrics(metrics, relay, plan);
    metrics.append(async () => (await control.inject({ url: '/metrics' })).body);
    const endpoint = await metrics.listen({ address: options.metricsAddress, port: options.metricsPort });
    announce(runtime, options, 'metrics', `http://${formatEndpoint(endpoint)}/metrics`, { endpoints: [endpoint] });
  }
  log.info('serving', { control: control.address, store: options.nats?.join(', ') ?? folder });
  await untilOver(runtime, options.for);
  log.info('shutting down');
}

function logOf({ io, clock }: Runtime, { log, verbose = false }: ServeOptions): Log {
  if (log !== 'text' && log !== 'json') throw new UsageError('--log must be text or json.');
  return serverLog(io, clock, { json: log === 'json', verbose });
}

/** Makes a setup code and prints it, once: nothing of it can be read from the store. */
async function printSetupCode({ io }: Runtime, options: ServeOptions, control: ControlServer): Promise<void> {
  const { json, publicName, publicAddress, address, port } = options;
  const code = await control.service.createSetupCode();
  if (json) printJson(io, 'setup-code', { code });
  else {
    io.out(`setup code ${code}: whoever has it can create the first party (towpath party create asks for it)`);
    const named = publicName ?? publicAddress ?? (isUnspecified(address) ? 'ADDRESS' : address);
    const host = named.includes(':') ? `[${named}]` : named;
    const url = new URL(control.address);
    const place = url.protocol === 'http:' && port === 4_100 ? host : `${url.protocol}//${host}:${url.port}`;
    io.err(`Next, on the machine that founds the party: towpath party create NAME --server ${place}`);
  }
}

function partyLimits(options: ServeOptions): Partial<PartyLimitOptions> {
  const { partyMembers, partyBytes, partyCodes, founderParties, founderMembers, founderBytes, founderCodes } = options;
  return given({
    membersPerParty: partyMembers,
    bytesPerParty: partyBytes,
    codesPerParty: partyCodes,
    partiesPerFounder: founderParties,
    membersPerFounder: founderMembers,
    bytesPerFounder: founderBytes,
    codesPerFounder: founderCodes,
  });
}

/** Names that nodes may use for this server: the addresses and names that were given, and those of its certificate. */
function serverNames({ address, publicAddress, publicName }: ServeOptions, cert: string | undefined): string[] {
  const altNames = cert === undefined ? '' : (new X509Certificate(cert).subjectAltName ?? '');
  const certified = [...altNames.matchAll(/(?:DNS|IP Address):([^,\s]+)/g)].map((match) => match[1]!);
  return [address, publicAddress, publicName, ...certified].filter((name) => name !== undefined);
}

/** Returns the secrets of TURN credentials, the current one first; none without any relay. */
function turnSecrets({ random }: Runtime, options: ServeOptions, folder: string): string[] {
  const { turnSecretFile, builtinRelay: builtin, relay, nats } = options;
  if (turnSecretFile !== undefined) return readSecrets(turnSecretFile);
  if (relay !== undefined) {
    throw new UsageError('Additional relays need a secret shared with this server. Next: add --turn-secret-file FILE.');
  }
  if (!builtin) return [];
  if (nats !== undefined) {
    throw new UsageError(
      'Servers of one cluster share their relays. Next: add --turn-secret-file FILE with the same secret on all servers, or --no-builtin-relay.',
    );
  }
  const file = join(folder, 'turn.secret');
  createSecret(file, random);
  return readSecrets(file);
}

async function startControl(...[components, options]: Parameters<typeof startControlServer>): Promise<ControlServer> {
  try {
    return await startControlServer(components, options);
  } catch (cause) {
    const code = errorCode(cause);
    const known = { EADDRINUSE: 'address-in-use', EADDRNOTAVAIL: 'address-not-available', EACCES: 'permission-denied' }[
      code
    ];
    if (known === undefined) throw cause;
    const place = `${options?.host}:${options?.port}`;
    const advice = `Next: choose another --port or --address, or end the process that uses it.`;
    throw new TowpathError(known, `The control plane cannot listen on ${place}: ${errorMessage(cause)}. ${advice}`, {
      target: place,
      cause,
    });
  }
}

/** Ends allocations of members that another server of the cluster removed; removals here are noticed at once. */
function endRevoked({ clock }: Runtime, relay: RelayNode, isRevoked: (user: string) => boolean): Disposable {
  const timer = deadlineInterval({
    clock,
    intervalMs: REVOKED_EVERY_MS,
    onTick: () => void relay.endAllocations(isRevoked),
  });
  return { [Symbol.dispose]: () => timer.cancel() };
}

/** Reports the relay of this process and its load to the control plane at intervals. */
async function reportRelay(
  { control, relay, plan, log }: { control: ControlServer; relay: RelayNode; plan: RelayPlan; log: Log },
  { clock }: Runtime,
  options: ServeOptions,
): Promise<Disposable> {
  const report = () => {
    const { allocations } = relay.metrics;
    const most = plan.limits.allocations ?? MAX_ALLOCATIONS;
    const load = typeof allocations === 'number' ? allocations / most : 0;
    return control.service.reportOwnRelay(builtinRelay(plan, options, relay.listening, load));
  };
  await report();
  const timer = deadlineInterval({
    clock,
    intervalMs: REPORT_EVERY_MS,
    onTick: () => {
      report().catch((error: unknown) => log.warn('cannot report the relay to the control plane', { error }));
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
  if (json) printJson(io, 'listening', { what, place, ...more });
  else io.out(`${what.padEnd(9)} listens on ${place}`);
}
