import type { Clock } from '@towpath/core';
import {
  type AddressScope,
  addressScope,
  addressToBytes,
  bytesToAddress,
  inSubnet,
  type Network,
  type Subnet,
} from '@towpath/net';

/** Scopes that an operator may open. The others (unspecified, multicast, broadcast) are never relayed to. */
export type OptionalScope = Extract<
  AddressScope,
  'loopback' | 'link-local' | 'private' | 'shared' | 'documentation' | 'reserved'
>;

export interface PeerPolicyOptions {
  /** Scopes that may be relayed to besides the public Internet. @default [] */
  allowScopes?: readonly OptionalScope[];
  /** Networks that may be relayed to whatever their scope. */
  allow?: readonly Subnet[];
  /** Networks that may never be relayed to; stronger than everything that allows. */
  deny?: readonly Subnet[];
  /**
   * Relay to services on the server's own addresses. Relayed ports of the server's own clients can always
   * be reached, so that two clients of one server can talk. @default false
   */
  allowOwn?: boolean;
}

/** Policy of one server. */
export interface ServerPeerPolicyOptions extends PeerPolicyOptions {
  /** The announced addresses of relayed ports, also those that are not on an interface (behind a NAT). */
  relayed: readonly string[];
}

export interface PeerPolicyComponents {
  network: Pick<Network, 'interfaces'>;
  clock: Clock;
}

/** The list of the host's addresses is read again when it is older than this. */
const INTERFACES_AGE_MS = 2_000;

/**
 * Decides which addresses a relay may send to. An address that carries another inside (IPv4-mapped,
 * NAT64, 6to4, Teredo) must pass with both, so that nobody reaches a private network by wrapping its address.
 */
export class PeerPolicy {
  readonly #components: PeerPolicyComponents;
  readonly #options: PeerPolicyOptions;
  readonly #relayed: ReadonlySet<string>;
  /** Relay addresses of a scope that is not open: nothing but relayed ports may be sent to there. */
  readonly #relayedOnly: ReadonlySet<string>;
  #own: ReadonlySet<string> = new Set();
  #broadcasts: ReadonlySet<string> = new Set();
  #readAtMs = Number.NEGATIVE_INFINITY;

  constructor(components: PeerPolicyComponents, options: ServerPeerPolicyOptions) {
    const { relayed } = options;
    this.#components = components;
    this.#options = options;
    this.#relayed = new Set(relayed);
    this.#relayedOnly = new Set(relayed.filter((address) => !this.#allowsForm(address)));
  }

  /** True when a permission for `address` may be installed. Of own addresses ({@link isOwn}) not every port may be sent to. */
  allows(address: string): boolean {
    this.#readInterfaces();
    if (this.#broadcasts.has(address)) return false;
    const { deny = [] } = this.#options;
    // Clients of one relay reach each other's relayed ports whatever the scope of its address.
    if (this.#relayed.has(address)) return !deny.some((subnet) => inSubnet(address, subnet));
    const inner = embedded(address);
    // The relayed ports of an own address are reached by the address itself.
    if (!this.#options.allowOwn && inner.some((form) => this.#own.has(form))) return false;
    const forms = [address, ...inner];
    return forms.every((form) => this.#allowsForm(form));
  }

  /** True when the address is one of the server's own, where only relayed ports may be sent to. */
  isOwn(address: string): boolean {
    if (this.#relayedOnly.has(address)) return true;
    if (this.#options.allowOwn) return false;
    this.#readInterfaces();
    return this.#own.has(address);
  }

  /** The host may get addresses at any time: those count as its own within seconds. */
  #readInterfaces(): void {
    const { network, clock } = this.#components;
    const nowMs = clock.now();
    if (nowMs < this.#readAtMs + INTERFACES_AGE_MS) return;
    this.#readAtMs = nowMs;
    const interfaces = network.interfaces();
    this.#own = new Set([...this.#relayed, ...interfaces.map(({ address }) => address.split('%')[0]!)]);
    this.#broadcasts = new Set(interfaces.flatMap(({ broadcast }) => (broadcast === undefined ? [] : [broadcast])));
  }

  #allowsForm(address: string): boolean {
    const { allow = [], deny = [], allowScopes = [] } = this.#options;
    const scope = addressScope(address);
    if (scope === undefined || scope === 'unspecified' || scope === 'multicast' || scope === 'broadcast') return false;
    if (deny.some((subnet) => inSubnet(address, subnet))) return false;
    if (scope === 'global' || allowScopes.includes(scope)) return true;
    return allow.some((subnet) => inSubnet(address, subnet));
  }
}

/** IPv4 addresses inside an IPv6 address; routers or hosts on the way may unwrap them. */
function embedded(address: string): string[] {
  if (!address.includes(':')) return [];
  const bytes = addressToBytes(address);
  if (bytes === undefined) return [];
  const word = (at: number) => (bytes[at]! << 8) | bytes[at + 1]!;
  const inner = (at: number, flip = 0) => bytesToAddress(bytes.subarray(at, at + 4).map((byte) => byte ^ flip))!;
  // IPv4-mapped ::ffff:0:0/96 (RFC 4291 §2.5.5.2) and NAT64 64:ff9b::/96 (RFC 6052 §2.1)
  if (word(10) === 0xffff && bytes.subarray(0, 10).every((byte) => byte === 0)) return [inner(12)];
  if (word(0) === 0x64 && word(2) === 0xff9b) return [inner(12)];
  // 6to4 2002::/16 (RFC 3056 §2)
  if (word(0) === 0x2002) return [inner(2)];
  // Teredo 2001::/32: the server, and the client with its bits flipped (RFC 4380 §4)
  if (word(0) === 0x2001 && word(2) === 0) return [inner(4), inner(12, 0xff)];
  // ISATAP interface identifiers (RFC 5214 §6.1)
  if ((word(8) & 0xfdff) === 0 && word(10) === 0x5efe) return [inner(12)];
  return [];
}
