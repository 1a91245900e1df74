import { type Clock, errorCode, errorMessage, type Log, type Random, silentLog, TowpathError } from '@towpath/core';
import {
  addressFamily,
  addressScope,
  type Endpoint,
  formatEndpoint,
  isIpAddress,
  isPrivateAddress,
  type Network,
  type TlsClientOptions,
} from '@towpath/net';
import { defaultGateway } from '@towpath/portmap';
import type { NatBehaviour } from '@towpath/stun';
import { withinLimit } from './deadline.ts';
import { discover, familyReport, hasFamily } from './families.ts';
import { checkPortMapping, type PortMappingCheck } from './port-mapping.ts';
import { checkPortal, readPortalUrl } from './portal.ts';
import { prospectsOf } from './prospects.ts';
import type { LocalAddress, NetcheckReport, Transport } from './report.ts';
import {
  type CheckComponents,
  checkWay,
  DEFAULT_PORT,
  type ServerCheck,
  type ServerToCheck,
  waysTo,
} from './server-check.ts';

export interface NetcheckComponents {
  network: Network;
  clock: Clock;
  random: Random;
  log?: Log;
  /** Finds the addresses of a host name; without it only addresses can be checked. */
  resolve?: (host: string, signal: AbortSignal) => Promise<readonly string[]>;
}

export interface NetcheckOptions {
  /** STUN servers. One with two addresses (RFC 5780) tells everything about a NAT. */
  servers?: readonly ServerToCheck[];
  /** Relays; they are asked as STUN servers too. */
  relays?: readonly ServerToCheck[];
  /** How servers prove themselves over TLS. */
  tls?: TlsClientOptions;
  /** IPv4 address of the gateway; `false` for none. @default the default route's */
  gateway?: string | false;
  /** Port of PCP and NAT-PMP. @default 5351 */
  gatewayPort?: number;
  /** `ask` which services the gateway has; `map` also makes a mapping and removes it again. @default 'ask' */
  portMapping?: 'ask' | 'map' | 'off';
  /** Look for UPnP too. @default true */
  upnp?: boolean;
  /** A page over plain HTTP that must answer 204; captive portals are looked for with it. */
  portalUrl?: string;
  /** How long the whole may take, ms. What is not known by then is reported as such. @default 2400 */
  limitMs?: number;
  signal?: AbortSignal;
}

const DEFAULT_LIMIT_MS = 2_400;
/** Parts of the whole time. Names come first; what follows them has the rest. */
const RESOLVE_SHARE = 0.25;
const SERVER_SHARE = 0.6;
const DISCOVERY_SHARE = 0.75;
/** Discovery waits for answers twice: for the first one, and for those from elsewhere. */
const ANSWER_SHARE = 0.36;
/** A mapping that was made is removed in what is left. */
const MAPPING_SHARE = 0.5;
const PORTAL_SHARE = 0.8;

/**
 * Finds out what this network lets through, all parts side by side: addresses, NAT behaviour, round trips to servers,
 * the gateway's port mapping, captive portals. What does not work is a finding, not an error.
 * @throws TowpathError `bad-argument` for a portal URL that is not plain HTTP; NetError when this machine can open
 *   no socket; the signal's reason.
 */
export async function netcheck(components: NetcheckComponents, options: NetcheckOptions = {}): Promise<NetcheckReport> {
  const { clock, network } = components;
  const { portalUrl, limitMs = DEFAULT_LIMIT_MS, signal = new AbortController().signal } = options;
  signal.throwIfAborted();
  if (portalUrl !== undefined) readPortalUrl(portalUrl);
  const startedAt = clock.now();
  const context: Context = {
    ...components,
    log: (components.log ?? silentLog).child('NETCHECK'),
    options,
    addresses: localAddresses(network),
    limitMs,
    signal,
  };
  const [{ ipv4, ipv6, servers }, { gateway, portMapping }, portal] = await Promise.all([
    checkServers(context),
    checkGateway(context),
    portalUrl === undefined
      ? undefined
      : checkPortal(components, portalUrl, { limitMs: PORTAL_SHARE * limitMs, signal }),
  ]);
  const nat = ipv4.nat ?? ipv6.nat;
  const transport = transportOf(servers, nat?.udp === true);
  return {
    transport,
    addresses: context.addresses,
    gateway,
    ipv4,
    ipv6,
    kind: nat?.name ?? 'unknown',
    meaning: meaningOf(transport, nat),
    prospects: nat === undefined || transport === 'nothing' ? [] : prospectsOf(nat),
    servers,
    portMapping,
    carrierNat: carrierNat(portMapping, ipv4.external?.address),
    portal,
    elapsedMs: clock.now() - startedAt,
  };
}

interface Context extends CheckComponents {
  log: Log;
  resolve?: NetcheckComponents['resolve'];
  options: NetcheckOptions;
  addresses: readonly LocalAddress[];
  limitMs: number;
  signal: AbortSignal;
}

async function checkServers(context: Context): Promise<Pick<NetcheckReport, 'ipv4' | 'ipv6' | 'servers'>> {
  const { options, addresses, limitMs, signal } = context;
  const named: { role: ServerCheck['role']; server: ServerToCheck }[] = [
    ...(options.servers ?? []).map((server) => ({ role: 'stun' as const, server })),
    ...(options.relays ?? []).map((server) => ({ role: 'relay' as const, server })),
  ];
  const resolved = await Promise.all(
    named.map(async (one) => ({ ...one, ...(await resolveServer(context, one.server)) })),
  );
  const endpoints = resolved.flatMap(({ server: { port = DEFAULT_PORT }, found }) =>
    found.map((address) => ({ address, port })),
  );
  const families = ([4, 6] as const).map((family) => {
    const asked = distinct(endpoints.filter(({ address }) => addressFamily(address) === family));
    return { family, asked, present: hasFamily(addresses, asked, family) };
  });
  const timing = { timeoutMs: ANSWER_SHARE * limitMs, limitMs: DISCOVERY_SHARE * limitMs, signal };
  const discovering = families.map(({ asked, present }) =>
    present && asked.length > 0 ? discover(context, asked, timing) : {},
  );
  const lost = new Set(families.filter(({ present }) => !present).map(({ family }) => family));
  const way = { limitMs: SERVER_SHARE * limitMs, tls: options.tls, signal };
  const checking = resolved.map(async ({ role, server, found, error }): Promise<ServerCheck> => {
    const reachable = waysTo(server, found).filter(({ family }) => !lost.has(family));
    const ways = await Promise.all(reachable.map((one) => checkWay(context, one, way)));
    const best = ways.filter(({ rttMs }) => rttMs !== undefined).toSorted((a, b) => a.rttMs! - b.rttMs!)[0];
    const { host, port = DEFAULT_PORT } = server;
    return { role, host, port, ways, ...(best && { best }), ...(error && { error }) };
  });
  const [servers, discovered] = await Promise.all([Promise.all(checking), Promise.all(discovering)]);
  const [ipv4, ipv6] = families.map(({ family, asked, present }, at) =>
    familyReport(family, present, asked, discovered[at]!, servers),
  );
  return { ipv4: ipv4!, ipv6: ipv6!, servers };
}

/** The addresses of a server: one per family. */
async function resolveServer(
  { resolve, clock, limitMs, signal }: Context,
  { host }: ServerToCheck,
): Promise<{ found: string[]; error?: { code: string; message: string } }> {
  if (isIpAddress(host)) return { found: [host] };
  try {
    if (resolve === undefined)
      throw new TowpathError('name-unresolved', `${host} is a name, and names are not looked up.`);
    const all = await withinLimit(
      clock,
      RESOLVE_SHARE * limitMs,
      `No name server knew ${host} in time.`,
      signal,
      async (limited) => {
        const aborted = Promise.withResolvers<never>();
        limited.addEventListener('abort', () => aborted.reject(limited.reason), { once: true });
        // A resolver may not heed the signal.
        return await Promise.race([resolve(host, limited), aborted.promise]);
      },
    );
    const found = ([4, 6] as const).flatMap((family) => all.find((one) => addressFamily(one) === family) ?? []);
    if (found.length > 0) return { found };
    throw new TowpathError('name-unresolved', `${host} has no address.`);
  } catch (error) {
    signal.throwIfAborted();
    return { found: [], error: { code: errorCode(error), message: errorMessage(error) } };
  }
}

async function checkGateway(context: Context): Promise<Pick<NetcheckReport, 'gateway' | 'portMapping'>> {
  const { options, limitMs, signal } = context;
  const { portMapping = 'ask', gatewayPort, upnp = true } = options;
  const gateway = options.gateway === false ? undefined : (options.gateway ?? (await defaultGateway()));
  if (portMapping === 'off') return { gateway, portMapping: undefined };
  const map = portMapping === 'map';
  const init = { gateway, gatewayPort, upnp, map, limitMs: MAPPING_SHARE * limitMs, signal };
  return { gateway, portMapping: await checkPortMapping(context, init) };
}

function localAddresses(network: Network): LocalAddress[] {
  return network
    .interfaces()
    .filter(({ internal }) => !internal)
    .map(({ name, address, family, prefixLength }) => ({
      interface: name,
      address,
      family,
      prefixLength,
      scope: addressScope(address),
    }));
}

function distinct(endpoints: readonly Endpoint[]): Endpoint[] {
  return [...new Map(endpoints.map((endpoint) => [formatEndpoint(endpoint), endpoint])).values()];
}

function transportOf(servers: readonly ServerCheck[], udp: boolean): Transport {
  if (servers.length === 0) return 'unknown';
  const answered = servers.flatMap(({ ways }) => ways).filter(({ rttMs }) => rttMs !== undefined);
  if (udp || answered.some(({ transport }) => transport === 'udp')) return 'udp';
  return answered.length > 0 ? 'tcp-only' : 'nothing';
}

function meaningOf(transport: Transport, nat: NatBehaviour | undefined): string {
  if (transport === 'unknown') return 'No server was named, so nothing can be said about connections.';
  if (transport === 'nothing') return 'Nothing can be reached: the network is down, or every server is.';
  return nat?.meaning ?? 'How this network treats UDP was not measured.';
}

/** The gateway has another address outside than the world sees: somebody translates behind it. */
function carrierNat(portMapping: PortMappingCheck | undefined, external: string | undefined): boolean | undefined {
  const outside = portMapping?.mapped?.external.address ?? portMapping?.services.natPmp.externalAddress;
  if (outside === undefined) return undefined;
  if (isPrivateAddress(outside)) return true;
  return external === undefined ? undefined : outside !== external;
}
