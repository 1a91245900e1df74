import type { Random } from '@towpath/core';
import { addressFamily, type Endpoint, formatEndpoint, isUnspecified, type Network } from '@towpath/net';
import { DEFAULT_LIMITS } from '@towpath/stun/server';
import { UsageError } from '../../cli/failure.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { serverUrl } from '../../cli/server-url.ts';
import { readAuthorities, readSecret } from '../../config/secret-file.ts';
import { readTlsFiles } from '../../config/tls-files.ts';
import { MetricsServer } from '../../serve/metrics-server.ts';
import type { DataPlaneMode } from '../../cli/values.ts';
import { announcePlane } from '../../serve/kernel-plane.ts';
import { isOwnAddress } from '../../serve/own-address.ts';
import { untilOver } from '../../serve/run-time.ts';
import { formatBytes } from '../../cli/table.ts';
import { checkRelayAddresses, listeningAddresses, portRange, type RelayPlan, relayAddresses, subnets } from './plan.ts';
import { given, type QuotaOptions, sharedQuotas, userLimits } from './quotas.ts';
import { addRelayMetrics, RelayNode } from './relay-node.ts';
import { createSecret, readSecrets } from './secrets.ts';
import { RelayWorkers } from './workers.ts';
import { printJson } from '../../cli/json-output.ts';

export interface RelayServeOptions extends CommonOptions, QuotaOptions {
  address: string[];
  port: number;
  alternatePort?: number;
  tcp: boolean;
  tlsPort: number;
  tlsCert?: string;
  tlsKey?: string;
  relay: boolean;
  relayAddress?: string[];
  publicAddress?: string[];
  relayPorts: string;
  realm: string;
  secretFile?: string;
  createSecret?: boolean;
  control?: string[];
  controlCa?: string;
  user?: string;
  passwordFile?: string;
  allowPeer?: string[];
  denyPeer?: string[];
  maxConnections?: number;
  addressConnections?: number;
  userRequests?: number;
  sourceRequests?: number;
  sourceBindings?: number;
  workers: number;
  dataPlane: DataPlaneMode;
  metricsPort?: number;
  /** Seconds. */
  for?: number;
}

/** Environment variable with the password of `--user`. */
const PASSWORD_VARIABLE = 'TOWPATH_RELAY_PASSWORD';

const NONCE_SECRET_BYTES = 32;

/** Runs a STUN and TURN server until Ctrl-C or until the time limit. */
export async function serveRelay(runtime: Runtime, options: RelayServeOptions): Promise<void> {
  const { io, clock, log, network } = runtime;
  const plan = planOf(runtime, options);
  if (options.relay) await requireOwn(network, plan);
  await using stack = new AsyncDisposableStack();
  const serving = stack.use(
    plan.shared
      ? await RelayWorkers.start({ clock, log, verbose: options.verbose ?? false }, plan, options.workers)
      : await RelayNode.open(runtime, plan),
  );
  announcePlan(runtime, options, plan);
  for (const { what, endpoints } of serving.listening) announce(runtime, options, what, endpoints);
  if (options.relay) announcePlane(io, options.json, serving.dataPlane);
  if (options.metricsPort !== undefined) {
    const metrics = stack.use(new MetricsServer());
    addRelayMetrics(metrics, serving, plan);
    const endpoint = await metrics.listen({ address: '127.0.0.1', port: options.metricsPort });
    if (options.json) printJson(io, 'listening', { what: 'metrics', endpoints: [endpoint] });
    else io.out(`metrics   http://${formatEndpoint(endpoint)}/metrics`);
  }
  await untilOver(runtime, options.for);
  if (!options.json) io.err('Shutting down.');
}

/** Relayed ports are bound when clients ask for them, each of which would be refused. @throws NetError `address-not-available` */
async function requireOwn(network: Network, { relay }: RelayPlan): Promise<void> {
  for (const { address } of relay) {
    const socket = await network.bindUdp({ address, family: addressFamily(address) ?? 4, port: 0 });
    await socket.close();
  }
}

/** @throws UsageError for options that contradict each other; TowpathError `file-unreadable`. */
function planOf({ io, clock, random, network }: Runtime, options: RelayServeOptions): RelayPlan {
  const addresses = listeningAddresses(options.address);
  const { publicAddress = [] } = options;
  const families = addresses.filter(isUnspecified).map(addressFamily);
  const isRelayed = (each: string) => families.includes(addressFamily(each)) && isOwnAddress(network, each);
  const relayed = options.relayAddress ?? publicAddress.filter(isRelayed);
  if (options.relay) checkRelayAddresses(addresses, options.relayAddress ?? [], publicAddress);
  const tls = readTlsFiles(options, clock.wallTime(), (text) => io.err(text));
  if (!/^[^\p{Cc}]{1,127}$/u.test(options.realm)) throw new UsageError('--realm must have 1 to 127 characters.');
  return {
    addresses,
    port: options.port,
    ...(options.alternatePort === undefined ? {} : { alternatePort: options.alternatePort }),
    tcp: options.tcp,
    ...(tls && { tls: { ...tls, port: options.tlsPort } }),
    // Without relaying no client can authenticate, and the address is not used.
    relay: options.relay
      ? relayAddresses(
          addresses,
          relayed,
          publicAddress.filter((each) => !relayed.includes(each)),
        )
      : [{ address: addresses[0]! }],
    relayPorts: portRange(options.relayPorts),
    realm: options.realm,
    ...(options.relay ? usersOf(options, io.env, random) : { secrets: [], users: {} }),
    ...controlOf(options),
    limits: limitsOf(options),
    quotas: sharedQuotas(options),
    allow: subnets(options.allowPeer ?? []),
    deny: subnets(options.denyPeer ?? []),
    nonceSecret: Buffer.from(random.bytes(NONCE_SECRET_BYTES)).toString('hex'),
    shared: options.workers > 1,
    // Without relaying there is no data.
    dataPlane: options.relay ? options.dataPlane : 'user',
  };
}

function controlOf({ control, controlCa, secretFile, relay }: RelayServeOptions): Pick<RelayPlan, 'control'> {
  if (control === undefined) {
    if (controlCa !== undefined) throw new UsageError('--control-ca needs --control.');
    return {};
  }
  if (!relay || secretFile === undefined) {
    throw new UsageError('--control needs --secret-file FILE with the secret that the control server has too.');
  }
  return {
    control: { servers: control.map(serverUrl), ca: controlCa === undefined ? undefined : readAuthorities(controlCa) },
  };
}

function usersOf(
  { secretFile, createSecret: create, user, passwordFile }: RelayServeOptions,
  env: Readonly<Record<string, string | undefined>>,
  random: Random,
): Pick<RelayPlan, 'secrets' | 'users'> {
  if (secretFile === undefined && user === undefined) {
    throw new UsageError(
      'A relay needs credentials. Next: add --secret-file FILE (with --create-secret the first time) or --user NAME; or use --no-relay for STUN only.',
    );
  }
  if (create && secretFile === undefined) throw new UsageError('--create-secret needs --secret-file FILE.');
  if (secretFile !== undefined && create) createSecret(secretFile, random);
  const secrets = secretFile === undefined ? [] : readSecrets(secretFile);
  if (user === undefined) return { secrets, users: {} };
  const password = passwordFile === undefined ? env[PASSWORD_VARIABLE] : readSecret(passwordFile);
  if (!password) {
    throw new UsageError(`No password for ${user}. Next: add --password-file FILE, or set ${PASSWORD_VARIABLE}.`);
  }
  return { secrets, users: { [user]: password } };
}

function limitsOf(options: RelayServeOptions): RelayPlan['limits'] {
  return {
    ...userLimits(options),
    ...given({
      connections: options.maxConnections,
      connectionsPerAddress: options.addressConnections,
      requestsPerSecondPerUser: options.userRequests,
      unauthenticatedPerSecond: options.sourceRequests,
      unauthenticatedPerSecondTotal: atLeast(options.sourceRequests, DEFAULT_LIMITS.unauthenticatedPerSecondTotal),
      bindingsPerSecond: options.sourceBindings,
      bindingsPerSecondTotal: atLeast(options.sourceBindings, DEFAULT_LIMITS.bindingsPerSecondTotal),
    }),
  };
}

/** What one network may have, all together may have too. */
function atLeast(perNetwork: number | undefined, total: number): number | undefined {
  return perNetwork === undefined ? undefined : Math.max(perNetwork, total);
}

/** Says what is served, to whom and within which limits: a line each for a person, or JSON. */
function announcePlan({ io }: Runtime, { json, relay, secretFile, user }: RelayServeOptions, plan: RelayPlan): void {
  const limits = { ...DEFAULT_LIMITS, ...plan.limits };
  if (json) {
    const relayed = relay ? { addresses: plan.relay, ports: plan.relayPorts, quotas: plan.quotas } : null;
    // JSON has no infinity.
    const told = Object.fromEntries(Object.entries(limits).filter(([, value]) => Number.isFinite(value)));
    printJson(io, 'serving', {
      turn: relay,
      realm: plan.realm,
      relayed,
      limits: told,
      control: plan.control?.servers ?? [],
    });
    return;
  }
  const say = (what: string, text: string) => io.out(`${what.padEnd(10)}${text}`);
  if (!relay) {
    say('serves', `STUN only; ${limits.bindingsPerSecond} answers per second to one network`);
    return;
  }
  const users = [secretFile && `whoever has credentials of ${secretFile}`, user && `the user ${user}`].filter(Boolean);
  say('serves', `STUN to everybody, TURN to ${users.join(' and ')}`);
  const [first, last] = plan.relayPorts;
  const places = plan.relay.map(({ address, announce: told = address }) =>
    told === address ? address : `${address}, announced as ${told}`,
  );
  say('relays on', `${places.join('; ')}, ports ${first}-${last}`);
  const { party, founder } = plan.quotas;
  const own = Number.isFinite(limits.bytesPerSecondPerUser) ? ` with ${rate(limits.bytesPerSecondPerUser)}` : '';
  const one = (what: string, { allocations, bytesPerSecond }: { allocations: number; bytesPerSecond: number }) =>
    `${allocations} with ${rate(bytesPerSecond)} of one ${what}`;
  say(
    'limits',
    `${limits.allocations} allocations: ${limits.allocationsPerUser}${own} of one user, ${one('party', party)}, ${one('founder', founder)}; ` +
      `${limits.connections} connections, ${limits.connectionsPerAddress} of one address`,
  );
  if (secretFile === undefined) return;
  if (plan.control !== undefined) say('removals', `asked of ${plan.control.servers.join(', ')} every 5 s`);
  else
    say('removals', 'not asked for: a removed member relays until its credentials expire. Next: add --control SERVER');
}

function rate(bytesPerSecond: number): string {
  return `${formatBytes(bytesPerSecond)}/s`;
}

function announce({ io }: Runtime, { json }: CommonOptions, what: string, endpoints: readonly Endpoint[]): void {
  if (json) printJson(io, 'listening', { what, endpoints });
  else io.out(`${what.padEnd(9)} listens on ${endpoints.map(formatEndpoint).join(', ')}`);
}
