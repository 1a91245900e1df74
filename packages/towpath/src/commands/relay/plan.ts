import {
  addressFamily,
  addressScope,
  canonicalAddress,
  type InterfaceAddress,
  isLinkLocal,
  isUnspecified,
  parseSubnet,
  type Subnet,
} from '@towpath/net';
import type { TurnLimits } from '@towpath/stun/server';
import type { DataPlaneMode } from '../../cli/values.ts';
import { UsageError } from '../../cli/failure.ts';
import type { SharedQuotas } from './quotas.ts';

/** Configuration of one server process; plain data, because it is sent to worker processes. */
export interface RelayPlan {
  /** Listening addresses, at most two of a family. */
  readonly addresses: readonly string[];
  /** UDP and TCP; 0 lets the system choose. */
  readonly port: number;
  /** A second port for behaviour tests. */
  readonly alternatePort?: number | undefined;
  readonly tcp: boolean;
  readonly tls?: { readonly port: number; readonly cert: string; readonly key: string };
  readonly relay: readonly { readonly address: string; readonly announce?: string }[];
  readonly relayPorts: readonly [number, number];
  readonly realm: string;
  readonly secrets: readonly string[];
  readonly users: Readonly<Record<string, string>>;
  /** Control servers that are asked which users were removed. */
  readonly control?: { readonly servers: readonly string[]; readonly ca?: string | undefined } | undefined;
  readonly limits: Partial<TurnLimits>;
  readonly quotas: SharedQuotas;
  readonly allow: readonly Subnet[];
  readonly deny: readonly Subnet[];
  /** Hexadecimal; the same for all processes. */
  readonly nonceSecret: string;
  /** Other processes serve the same ports. */
  readonly shared: boolean;
  /** Where the data of plain ports passes. @default 'auto' */
  readonly dataPlane?: DataPlaneMode | undefined;
}

const byFamily = (addresses: readonly string[], family: 4 | 6): string[] =>
  addresses.filter((address) => addressFamily(address) === family);

/** Where a STUN server listens. */
export interface StunPlace {
  readonly address: string;
  readonly port: number;
  readonly alternate?: { address?: string | undefined; port?: number | undefined };
  readonly announce?: Readonly<Record<string, string>>;
}

/**
 * Returns the STUN servers of a plan: one per family, on one or two addresses.
 * @param plan.addresses without unspecified ones, each of which stands for all addresses of the host: see {@link wildcardPlace}.
 */
export function stunPlaces(
  plan: Pick<RelayPlan, 'addresses' | 'port' | 'alternatePort'> & Partial<RelayPlan>,
): StunPlace[] {
  const { addresses, port, alternatePort } = plan;
  return ([4, 6] as const).flatMap((family) => {
    const [address, second] = byFamily(addresses, family);
    if (address === undefined || isUnspecified(address)) return [];
    if (second === undefined) return [wildcardPlace(plan, address)];
    const next = alternatePort ?? (port === 0 ? 0 : port + 1);
    return [{ address, port, alternate: { address: second, port: next }, ...announceOf(plan) }];
  });
}

/** Returns the STUN server on one of the host's addresses. */
export function wildcardPlace(
  plan: Pick<RelayPlan, 'port' | 'alternatePort'> & Partial<RelayPlan>,
  address: string,
): StunPlace {
  const { port, alternatePort } = plan;
  return { address, port, ...(alternatePort && { alternate: { port: alternatePort } }), ...announceOf(plan) };
}

function announceOf({ relay = [] }: Partial<RelayPlan>): Pick<StunPlace, 'announce'> {
  const pairs = relay.flatMap(({ address, announce }) =>
    announce === undefined ? [] : [[address, announce] as const],
  );
  return pairs.length === 0 ? {} : { announce: Object.fromEntries(pairs) };
}

/**
 * Returns the host's addresses that a listener on `0.0.0.0` or `::` stands for. Each gets a UDP socket of its own: from a
 * socket for all of them the system sends with the address of the route, which need not be the one that was asked.
 */
export function hostAddresses(interfaces: readonly InterfaceAddress[], family: 4 | 6): string[] {
  const usable = interfaces.filter((one) => one.family === family && !isLinkLocal(one.address));
  return [...new Set(usable.map(({ address }) => address))];
}

/**
 * Normalises listening addresses.
 * @throws UsageError for invalid addresses, or more than two of a family.
 */
export function listeningAddresses(texts: readonly string[]): string[] {
  const addresses = texts.map((text) => {
    const address = canonicalAddress(text);
    if (address === undefined) throw new UsageError(`"${text}" is not an IP address.`);
    return address;
  });
  for (const family of [4, 6] as const) {
    if (byFamily(addresses, family).length > 2) {
      throw new UsageError(`At most two IPv${family} addresses are supported; the second serves RFC 5780 tests.`);
    }
  }
  return addresses;
}

/**
 * Returns the addresses of relayed ports: one for each family, with the public address.
 * @throws UsageError when they do not follow from the listening addresses.
 */
export function relayAddresses(
  listening: readonly string[],
  relay: readonly string[],
  announced: readonly string[],
): RelayPlan['relay'] {
  return ([4, 6] as const).flatMap((family) => {
    const address = byFamily(relay, family)[0] ?? byFamily(listening, family)[0];
    if (address === undefined) return [];
    if (isUnspecified(address)) {
      throw new UsageError(`Clients need the address of relayed ports. Next: add --relay-address for ${address}.`);
    }
    const announce = byFamily(announced, family)[0];
    return [{ address, ...(announce === undefined ? {} : { announce }) }];
  });
}

/**
 * Checks what {@link relayAddresses} would leave out.
 * @throws UsageError for an address of many hosts, more than one of a family, or a public one that no relay address has
 */
export function checkRelayAddresses(
  listening: readonly string[],
  relay: readonly string[],
  announced: readonly string[],
): void {
  const many = [...listening, ...relay, ...announced].find(isOfMany);
  if (many !== undefined) {
    throw new UsageError(`${many} is not the address of one machine. Next: name an address of this one.`);
  }
  for (const family of [4, 6] as const) {
    const [first, second] = byFamily(relay, family);
    if (second !== undefined) {
      throw new UsageError(`Relayed ports have one IPv${family} address. Next: choose ${first} or ${second}.`);
    }
    const [told, other] = byFamily(announced, family);
    if (other !== undefined) {
      throw new UsageError(`Relayed ports have one public IPv${family} address. Next: choose ${told} or ${other}.`);
    }
    if (told !== undefined && byFamily([...relay, ...listening], family).length === 0) {
      throw new UsageError(
        `No relay address is IPv${family}, so ${told} cannot be its public address. Next: add --address or --relay-address with one.`,
      );
    }
  }
}

function isOfMany(address: string): boolean {
  return ['multicast', 'broadcast'].includes(addressScope(address) ?? '');
}

/** @throws UsageError for an invalid network prefix. */
export function subnets(texts: readonly string[]): Subnet[] {
  return texts.map((text) => {
    const whole = text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`;
    const subnet = parseSubnet(whole);
    if (subnet === undefined)
      throw new UsageError(`"${text}" is not a network. Expected a form such as 10.0.0.0/8 or 2001:db8::/32.`);
    return subnet;
  });
}

/** `49152-65535` → [49152, 65535]. @throws UsageError */
export function portRange(text: string): [number, number] {
  const match = /^(\d{1,5})-(\d{1,5})$/.exec(text);
  const [first, last] = [Number(match?.[1]), Number(match?.[2])];
  if (!(first >= 1 && last <= 65_535 && first <= last)) {
    throw new UsageError(`"${text}" is not a range of ports. Expected a form such as 49152-65535.`);
  }
  return [first, last];
}
