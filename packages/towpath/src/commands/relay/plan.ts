import { addressFamily, canonicalAddress, isUnspecified, parseSubnet, type Subnet } from '@towpath/net';
import type { TurnLimits } from '@towpath/stun';
import { UsageError } from '../../cli/failure.ts';

/** Everything that one process needs to know to serve; plain data, because it is sent to worker processes. */
export interface RelayPlan {
  /** Listening addresses, at most two of a family. */
  readonly addresses: readonly string[];
  /** UDP and TCP; 0 lets the system choose. */
  readonly port: number;
  /** A second port for behaviour tests. */
  readonly alternatePort?: number;
  readonly tcp: boolean;
  readonly tls?: { readonly port: number; readonly cert: string; readonly key: string };
  readonly relay: readonly { readonly address: string; readonly announce?: string }[];
  readonly relayPorts: readonly [number, number];
  readonly realm: string;
  readonly secrets: readonly string[];
  readonly users: Readonly<Record<string, string>>;
  readonly limits: Partial<TurnLimits>;
  readonly allow: readonly Subnet[];
  readonly deny: readonly Subnet[];
  /** Hexadecimal; the same for all processes. */
  readonly nonceSecret: string;
  /** Other processes serve the same ports. */
  readonly shared: boolean;
}

const byFamily = (addresses: readonly string[], family: 4 | 6): string[] =>
  addresses.filter((address) => addressFamily(address) === family);

/** The STUN servers of a plan: one per family, on one or two addresses. */
export function stunPlaces({
  addresses,
  port,
  alternatePort,
}: Pick<RelayPlan, 'addresses' | 'port' | 'alternatePort'>): {
  address: string;
  port: number;
  alternate?: { address?: string; port?: number };
}[] {
  return ([4, 6] as const).flatMap((family) => {
    const [address, second] = byFamily(addresses, family);
    if (address === undefined) return [];
    if (second === undefined) return [{ address, port, ...(alternatePort && { alternate: { port: alternatePort } }) }];
    const next = alternatePort ?? (port === 0 ? 0 : port + 1);
    return [{ address, port, alternate: { address: second, port: next } }];
  });
}

/**
 * Addresses in the form in which sockets name them.
 * @throws UsageError for what is no address, or more of a family than behaviour tests can use.
 */
export function listeningAddresses(texts: readonly string[]): string[] {
  const addresses = texts.map((text) => {
    const address = canonicalAddress(text);
    if (address === undefined) throw new UsageError(`"${text}" is no IP address to listen on.`);
    return address;
  });
  for (const family of [4, 6] as const) {
    if (byFamily(addresses, family).length > 2) {
      throw new UsageError(`At most two IPv${family} addresses can be listened on: the second is for behaviour tests.`);
    }
  }
  return addresses;
}

/**
 * Where relayed ports are opened: one address per family, with what clients are told.
 * @throws UsageError when it cannot be told from the listening addresses.
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
      throw new UsageError(`Clients are told where they are relayed: say --relay-address for ${address}.`);
    }
    const announce = byFamily(announced, family)[0];
    return [{ address, ...(announce === undefined ? {} : { announce }) }];
  });
}

/** @throws UsageError for what is no network prefix. */
export function subnets(texts: readonly string[]): Subnet[] {
  return texts.map((text) => {
    const whole = text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`;
    const subnet = parseSubnet(whole);
    if (subnet === undefined) throw new UsageError(`"${text}" is no network such as 10.0.0.0/8 or 2001:db8::/32.`);
    return subnet;
  });
}

/** `49152-65535` → [49152, 65535]. @throws UsageError */
export function portRange(text: string): [number, number] {
  const match = /^(\d{1,5})-(\d{1,5})$/.exec(text);
  const [first, last] = [Number(match?.[1]), Number(match?.[2])];
  if (!(first >= 1 && last <= 65_535 && first <= last)) {
    throw new UsageError(`"${text}" is no range of ports such as 49152-65535.`);
  }
  return [first, last];
}
