import { addressToBytes, bytesToAddress } from './ip.ts';

/** A network prefix: canonical network address and its length in bits. */
export interface Subnet {
  readonly address: string;
  readonly prefixLength: number;
}

/** Reads `192.168.1.0/24` or `2001:db8::/64`; host bits are cleared. `undefined` when it is no prefix. */
export function parseSubnet(text: string): Subnet | undefined {
  const match = /^([^/]+)\/(\d{1,3})$/.exec(text.trim());
  return match ? subnetOf(match[1]!, Number(match[2])) : undefined;
}

/** The network that `address` is in; `undefined` when it is no IP literal or the length does not fit. */
export function subnetOf(address: string, prefixLength: number): Subnet | undefined {
  const bytes = addressToBytes(address);
  if (!bytes || !fits(bytes, prefixLength)) return undefined;
  for (let at = 0; at < bytes.length; at++) bytes[at]! &= maskByte(prefixLength, at);
  return { address: bytesToAddress(bytes)!, prefixLength };
}

/** True when `address` is in `subnet`; false for another family. */
export function inSubnet(address: string, subnet: Subnet): boolean {
  return subnetOf(address, subnet.prefixLength)?.address === subnet.address;
}

/**
 * The directed broadcast address of an IPv4 network (RFC 919), `undefined` for IPv6, bad text, and
 * prefixes of 31 and 32 bits, which have none (RFC 3021).
 */
export function broadcastAddress(address: string, prefixLength: number): string | undefined {
  const bytes = addressToBytes(address);
  if (bytes?.length !== 4 || !fits(bytes, prefixLength) || prefixLength > 30) return undefined;
  for (let at = 0; at < 4; at++) bytes[at]! |= ~maskByte(prefixLength, at) & 0xff;
  return bytes.join('.');
}

/**
 * The host addresses of a network in order, at most `limit` of them: network and broadcast address
 * are left out where the family and prefix have them. For LAN sweeps.
 */
export function* subnetHosts({ address, prefixLength }: Subnet, limit: number): Generator<string, void> {
  const bytes = subnetOf(address, prefixLength) && addressToBytes(address);
  if (!bytes) return;
  const bits = bytes.length * 8;
  const small = bits - prefixLength < 2;
  const size = 2 ** Math.min(bits - prefixLength, 52);
  const end = small || bytes.length === 16 ? size : size - 1;
  for (let host = small ? 0 : 1, given = 0; host < end && given < limit; host++, given++)
    yield hostAddress(bytes, prefixLength, host);
}

/** The address with number `host` (0 is the network address) in the network of `prefix`. */
function hostAddress(prefix: Uint8Array, prefixLength: number, host: number): string {
  const bytes = Uint8Array.from(prefix);
  let rest = host;
  for (let at = bytes.length - 1; at >= 0; at--) {
    const mask = maskByte(prefixLength, at);
    bytes[at] = (bytes[at]! & mask) | ((rest % 256) & ~mask & 0xff);
    rest = Math.floor(rest / 256);
  }
  return bytesToAddress(bytes)!;
}

function fits(bytes: Uint8Array, prefixLength: number): boolean {
  return Number.isInteger(prefixLength) && prefixLength >= 0 && prefixLength <= bytes.length * 8;
}

/** The bits of byte `at` that belong to the network. */
function maskByte(prefixLength: number, at: number): number {
  const bits = Math.min(8, Math.max(0, prefixLength - at * 8));
  return (0xff << (8 - bits)) & 0xff;
}
