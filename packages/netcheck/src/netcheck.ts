import { type Clock, type Log, type Random, silentLog } from '@towpath/core';
import { addressScope, type Network, type TlsClientOptions } from '@towpath/net';
import { type NatReport, reachabilityByPeer } from '@towpath/stun';
import { beyondGateway } from './beyond-gateway.ts';
import { checkPortMapping } from './port-mapping.ts';
import { checkPortal, type PortalCheck, readPortalUrl } from './portal.ts';
import {
  isOfThisMachine,
  type LocalAddress,
  type NetcheckReport,
  natOf,
  type Transport,
  type Unmeasured,
} from './report.ts';
import type { ServerCheck, ServerToCheck } from './server-check.ts';
import { checkServers, type ServerContext } from './server-checks.ts';

export interface NetcheckComponents {
  network: Network;
  clock: Clock;
  random: Random;
  log?: Log | undefined;
}

export interface NetcheckOptions {
  /** STUN servers. One with two addresses (RFC 5780) is needed to measure all NAT behaviour. */
  servers?: readonly ServerToCheck[];
  /** Relays; also used as STUN servers. */
  relays?: readonly ServerToCheck[];
  /** How certificates of servers are verified. */
  tls?: TlsClientOptions | undefined;
  /** IPv4 address of the gateway; `false` for none. @default the default route's */
  gateway?: string | false;
  /** Port of PCP and NAT-PMP. @default 5351 */
  gatewayPort?: number;
  /** `ask`: which services the gateway has; `map`: also creates a mapping and deletes it. @default 'ask' */
  portMapping?: 'ask' | 'map' | 'off';
  /** Also search for UPnP. @default true */
  upnp?: boolean;
  /** An http:// page that must answer 204, for the captive portal test. */
  portalUrl?: string;
  /** Time limit of the measurements, ms. What is not known by then is reported as unknown. @default 2400 */
  limitMs?: number;
  /** Time limit of looking up names, ms; a dead first name server leaves time for the second. @default 3200 */
  nameLimitMs?: number;
  signal?: AbortSignal | undefined;
}

const DEFAULT_LIMIT_MS = 2_400;
const DEFAULT_NAME_LIMIT_MS = 3_200;
/** Shares of the total time. */
/** The remaining time is for deleting the mapping. */
const MAPPING_SHARE = 0.5;
const PORTAL_SHARE = 0.8;

/**
 * Measures what this network lets through, in parallel: addresses, NAT behaviour, round-trip times to servers, port
 * mapping of the gateway, captive portals. What does not work is part of the result, not an error.
 * @throws TowpathError `bad-argument` for a portal URL that is not plain HTTP; NetError when this machine can open
 *   no socket; the signal's reason.
 */
export async function netcheck(components: NetcheckComponents, options: NetcheckOptions = {}): Promise<NetcheckReport> {
  const { clock, network } = components;
  const { portalUrl, signal = new AbortController().signal } = options;
  const { limitMs = DEFAULT_LIMIT_MS, nameLimitMs = DEFAULT_NAME_LIMIT_MS } = options;
  signal.throwIfAborted();
  if (portalUrl !== undefined) readPortalUrl(portalUrl);
  const startedAt = clock.now();
  const context: Context = {
    ...components,
    log: (components.log ?? silentLog).child('NETCHECK'),
    options,
    addresses: localAddresses(network),
    limitMs,
    nameLimitMs,
    signal,
  };
  const [{ ipv4, ipv6, servers }, { gateway, portMapping }, page] = await Promise.all([
    checkServers(context),
    checkGateway(context),
    portalUrl === undefined
      ? undefined
      : checkPortal(components, portalUrl, { limitMs: PORTAL_SHARE * limitMs, nameLimitMs, signal }),
  ]);
  const nat = natOf({ ipv4, ipv6 });
  const transport = transportOf(servers, context.addresses);
  const portal = page && portalVerdict(page, transport);
  const unmeasured = transport === 'unknown' ? whyUnmeasured(servers) : undefined;
  const found = { transport, unmeasured, portal, servers, addresses: context.addresses };
  const isHere = isOfThisMachine({ ipv4, ipv6 });
  return {
    transport,
    unmeasured,
    addresses: context.addresses,
    gateway,
    ipv4,
    ipv6,
    kind: (isHere ? undefined : nat?.name) ?? 'unknown',
    meaning: isHere ? ON_THIS_MACHINE : meaningOf(found, nat),
    reachability: nat === undefined || isHere ? [] : reachabilityByPeer(nat),
    servers,
    portMapping,
    beyondGateway: await beyondGateway(network, { gateway, portMapping, ipv4, servers, signal }),
    portal,
    elapsedMs: clock.now() - startedAt,
  };
}

interface Context extends ServerContext {
  options: NetcheckOptions;
}

async function checkGateway(context: Context): Promise<Pick<NetcheckReport, 'gateway' | 'portMapping'>> {
  const { options, limitMs, signal, network } = context;
  const { portMapping = 'ask', gatewayPort, upnp = true } = options;
  const route = options.gateway === undefined ? await network.defaultRoute({ signal }) : undefined;
  const gateway = options.gateway === false ? undefined : (options.gateway ?? route?.gateway);
  if (portMapping === 'off') return { gateway, portMapping: undefined };
  const map = portMapping === 'map';
  const localAddress = route?.source;
  const mapping = { gateway, gatewayPort, upnp, map, localAddress, limitMs: MAPPING_SHARE * limitMs, signal };
  return { gateway, portMapping: await checkPortMapping(context, mapping) };
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

function transportOf(servers: readonly ServerCheck[], addresses: readonly LocalAddress[]): Transport {
  if (servers.length === 0) return 'unknown';
  const asked = servers.flatMap(({ transports }) => transports);
  if (asked.length === 0) return addresses.length === 0 ? 'nothing' : 'unknown';
  const answered = asked.filter(({ rttMs }) => rttMs !== undefined);
  if (answered.some(({ transport }) => transport === 'udp')) return 'udp';
  return answered.length > 0 ? 'tcp-only' : 'nothing';
}

function whyUnmeasured(servers: readonly ServerCheck[]): Unmeasured {
  if (servers.length === 0) return 'no-server';
  return servers.some(({ error }) => error !== undefined) ? 'names' : 'other-family';
}

/** A page that another answers for is a portal only while no server is reached: otherwise it is the page's own answer. */
function portalVerdict(page: PortalCheck, transport: Transport): PortalCheck {
  if (page.state !== 'portal' || (transport !== 'udp' && transport !== 'tcp-only')) return page;
  const reason = `the page answered ${page.status} instead of 204, but servers are reached: check its URL`;
  return { ...page, state: 'unknown', reason };
}

/** Loopback addresses are asked when a person names them. */
const ON_THIS_MACHINE = 'The server is on this machine: what it answers says nothing about the network to others.';

function meaningOf(
  found: Pick<NetcheckReport, 'transport' | 'unmeasured' | 'portal' | 'servers' | 'addresses'>,
  nat: NatReport | undefined,
): string {
  const { transport, unmeasured, portal, servers, addresses } = found;
  if (transport === 'nothing') {
    if (addresses.length === 0) return 'This machine has no network address.';
    if (portal?.state === 'portal') {
      return 'A captive portal answers instead of the Internet: log in with a browser, then run this again.';
    }
    return 'No server answered: the network is down, or all servers are.';
  }
  switch (unmeasured) {
    case undefined:
      return nat?.meaning ?? 'NAT behaviour for UDP was not measured.';
    case 'no-server':
      return 'No server was given; connections were not tested.';
    case 'names':
      return `Nothing was measured. ${servers.find(({ error }) => error !== undefined)?.error?.message}`;
    case 'other-family':
      return 'Nothing was measured: this machine has no address of the IP version of the servers.';
    default:
      return unmeasured satisfies never;
  }
}
