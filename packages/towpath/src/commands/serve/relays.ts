import type { Relay } from '@towpath/control';
import type { Random } from '@towpath/core';
import { isUnspecified, type Network, parseEndpoint } from '@towpath/net';
import { UsageError } from '../../cli/failure.ts';
import type { DataPlaneMode } from '../../cli/values.ts';
import { isOwnAddress } from '../../serve/own-address.ts';
import type { Listening } from '../relay/relay-node.ts';
import { portRange, type RelayPlan, relayAddresses, subnets } from '../relay/plan.ts';
import { type QuotaOptions, sharedQuotas, userLimits } from '../relay/quotas.ts';

/** Options of the built-in relay. */
export interface BuiltinRelayOptions extends QuotaOptions {
  address: string;
  publicAddress?: string;
  publicName?: string;
  stunPort: number;
  stunTlsPort: number;
  relayPorts: string;
  region?: string;
  allowPeer?: string[];
  dataPlane?: DataPlaneMode;
}

/** Most allocations of the built-in relay unless the option says otherwise; its reported load is relative to this. */
export const MAX_ALLOCATIONS = 4_096;

const NONCE_SECRET_BYTES = 32;

/** @throws UsageError for options that contradict each other. */
export function builtinRelayPlan(
  { network, random }: { network: Network; random: Random },
  options: BuiltinRelayOptions,
  secrets: readonly string[],
  tls: { cert: string; key: string } | undefined,
): RelayPlan {
  const { address, publicAddress, stunPort, stunTlsPort } = options;
  const ownPublic = publicAddress !== undefined && isOwnAddress(network, publicAddress) ? publicAddress : undefined;
  const own = isUnspecified(address)
    ? (ownPublic ?? addressOfMachine(network, address.includes(':') ? 6 : 4))
    : address;
  return {
    addresses: [address],
    port: stunPort,
    // Nodes need a second port to measure their NAT (RFC 5780).
    alternatePort: stunPort === 0 ? 0 : stunPort + 1,
    tcp: true,
    ...(tls === undefined ? {} : { tls: { ...tls, port: stunTlsPort } }),
    relay: relayAddresses(
      [address],
      [own],
      publicAddress === undefined || publicAddress === own ? [] : [publicAddress],
    ),
    relayPorts: portRange(options.relayPorts),
    realm: 'towpath',
    secrets,
    users: {},
    limits: { allocations: MAX_ALLOCATIONS, ...userLimits(options) },
    quotas: sharedQuotas(options),
    allow: subnets(options.allowPeer ?? []),
    deny: [],
    nonceSecret: Buffer.from(random.bytes(NONCE_SECRET_BYTES)).toString('hex'),
    shared: false,
    dataPlane: options.dataPlane,
  };
}

/** Returns the built-in relay as nodes see it. */
export function builtinRelay(
  plan: RelayPlan,
  { publicName, publicAddress, region = '' }: BuiltinRelayOptions,
  listening: readonly Listening[],
  load: number,
): Relay {
  const address = publicName ?? publicAddress ?? plan.relay[0]?.announce ?? plan.relay[0]?.address ?? '';
  const host = address.includes(':') ? `[${address}]` : address;
  const portOf = (what: string) => listening.find((each) => each.what === what)?.endpoints[0]?.port;
  const [udp, tcp, tls] = [portOf('udp'), portOf('tcp'), portOf('tls')];
  return {
    id: relayId(`${address}:${udp}`),
    urls: [
      ...(udp === undefined ? [] : [`turn:${host}:${udp}?transport=udp`]),
      ...(tcp === undefined ? [] : [`turn:${host}:${tcp}?transport=tcp`]),
      ...(tls === undefined ? [] : [`turns:${host}:${tls}?transport=tcp`]),
    ],
    region,
    load: Math.min(1, load),
    healthy: true,
  };
}

/**
 * The TURN servers of a fleet: `[REGION=]turn:HOST[:PORT][?transport=udp|tcp]` or `turns:…`; several URLs of one host
 * are one relay.
 * @throws UsageError for an invalid URL.
 */
export function fleet(texts: readonly string[]): Relay[] {
  const relays = new Map<string, { region: string; urls: string[] }>();
  for (const text of texts) {
    const match = /^(?:([\w-]{1,64})=)?((turns?):([^?]+)(?:\?transport=(?:udp|tcp))?)$/.exec(text);
    const [, region = '', url = '', scheme, place = ''] = match ?? [];
    const parsed = parseEndpoint(place, scheme === 'turns' ? 5349 : 3478);
    if (match === null || !parsed.ok) {
      throw new UsageError(
        `"${text}" is not a relay. Expected a form such as turn:relay.example.org:3478 or eu=turns:relay.example.org.`,
      );
    }
    const relay = relays.get(parsed.endpoint.address) ?? { region, urls: [] };
    relay.urls.push(url);
    relays.set(parsed.endpoint.address, relay);
  }
  return [...relays].map(([host, { region, urls }]) => ({
    id: relayId(host),
    urls,
    region,
    load: 0,
    healthy: true,
  }));
}

/** Ids are letters, digits, `-` and `_`. */
function relayId(text: string): string {
  return text.replace(/[^A-Za-z0-9_-]/g, '-').slice(0, 64);
}

/** Returns an address of this machine on its network. */
function addressOfMachine(network: Network, family: 4 | 6): string {
  const usable = network
    .interfaces()
    .find((each) => !each.internal && each.family === family && !/^(fe80:|169\.254\.)/i.test(each.address));
  if (usable !== undefined) return usable.address;
  throw new UsageError(
    `This machine has no IPv${family} address for the relay. Next: connect it to its network, or name an address of this machine with --address.`,
  );
}
