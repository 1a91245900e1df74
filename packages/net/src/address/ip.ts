import { isIPv4, isIPv6 } from 'node:net';

/** 4 or 6 for an IP literal (an IPv6 zone such as `%eth0` is allowed), `undefined` for anything else. */
export function addressFamily(text: string): 4 | 6 | undefined {
  if (isIPv4(text)) return 4;
  return isIPv6(text) ? 6 : undefined;
}

/** True for an IP literal of either family, without brackets. */
export function isIpAddress(text: string): boolean {
  return addressFamily(text) !== undefined;
}

/**
 * The 4 or 16 bytes of an IP literal in network order, `undefined` when `text` is none.
 * The zone of an IPv6 address is left out.
 */
export function addressToBytes(text: string): Uint8Array | undefined {
  if (isIPv4(text)) return Uint8Array.from(text.split('.'), Number);
  if (!isIPv6(text)) return undefined;
  const [bare = ''] = text.split('%');
  const [head = '', tail] = bare.split('::');
  const before = groupBytes(head);
  const after = tail === undefined ? [] : groupBytes(tail);
  const bytes = new Uint8Array(16);
  bytes.set(before, 0);
  bytes.set(after, 16 - after.length);
  return bytes;
}

function groupBytes(groups: string): number[] {
  const bytes: number[] = [];
  for (const group of groups === '' ? [] : groups.split(':')) {
    if (group.includes('.')) bytes.push(...group.split('.').map(Number));
    else bytes.push(Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff);
  }
  return bytes;
}

/**
 * The canonical text of 4 or 16 address bytes (RFC 5952: lower case, the longest run of zero groups
 * as `::`, IPv4-mapped addresses as `::ffff:192.0.2.1`); `undefined` for any other length.
 */
export function bytesToAddress(bytes: Uint8Array): string | undefined {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length !== 16) return undefined;
  if (isMapped(bytes)) return `::ffff:${bytes.subarray(12).join('.')}`;
  const groups: number[] = [];
  for (let at = 0; at < 16; at += 2) groups.push((bytes[at]! << 8) | bytes[at + 1]!);
  const { start, length } = longestZeroRun(groups);
  const text = (part: number[]) => part.map((group) => group.toString(16)).join(':');
  if (length < 2) return text(groups);
  return `${text(groups.slice(0, start))}::${text(groups.slice(start + length))}`;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let end = start;
    while (groups[end] === 0) end++;
    if (end - start > best.length) best = { start, length: end - start };
    if (end > start) start = end;
  }
  return best;
}

function isMapped(bytes: Uint8Array): boolean {
  return bytes[10] === 0xff && bytes[11] === 0xff && bytes.subarray(0, 10).every((byte) => byte === 0);
}

/** The same address in canonical text, its zone kept; `undefined` when `text` is no IP literal. */
export function canonicalAddress(text: string): string | undefined {
  if (isIPv4(text)) return text;
  const bytes = addressToBytes(text);
  if (bytes === undefined) return undefined;
  const zone = text.indexOf('%');
  return zone < 0 ? bytesToAddress(bytes) : `${bytesToAddress(bytes)}${text.slice(zone)}`;
}

/**
 * What an address is for (IANA special-purpose registries, RFC 6890): `global` means that it can be
 * reached from anywhere, `undefined` that the text is no IP literal. IPv4-mapped and NAT64
 * (`64:ff9b::/96`) addresses count as the IPv4 address inside.
 */
export type AddressScope =
  | 'unspecified'
  | 'loopback'
  | 'link-local'
  | 'private'
  | 'shared'
  | 'multicast'
  | 'broadcast'
  | 'documentation'
  | 'reserved'
  | 'global';

export function addressScope(text: string): AddressScope | undefined {
  const bytes = addressToBytes(text);
  if (bytes === undefined) return undefined;
  if (bytes.length === 4) return scope4(bytes);
  if (isMapped(bytes) || matches(bytes, NAT64)) return scope4(bytes.subarray(12));
  return scope6(bytes);
}

const NAT64: readonly number[] = [0x00, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0];

function matches(bytes: Uint8Array, prefix: readonly number[]): boolean {
  return prefix.every((byte, at) => bytes[at] === byte);
}

function scope4(bytes: Uint8Array): AddressScope {
  const [a = 0, b = 0, c = 0, d = 0] = bytes;
  if (a === 0) return b === 0 && c === 0 && d === 0 ? 'unspecified' : 'reserved';
  if (a === 127) return 'loopback';
  if (a === 169 && b === 254) return 'link-local';
  if (a === 10 || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168)) return 'private';
  if (a === 100 && b >= 64 && b < 128) return 'shared';
  if (a >= 224 && a < 240) return 'multicast';
  if (a === 255 && b === 255 && c === 255 && d === 255) return 'broadcast';
  if (
    (a === 192 && b === 0 && c === 2) ||
    (a === 198 && b === 51 && c === 100) ||
    (a === 203 && b === 0 && c === 113)
  ) {
    return 'documentation';
  }
  if (a >= 240 || (a === 192 && b === 0 && c === 0) || (a === 198 && (b === 18 || b === 19))) return 'reserved';
  return 'global';
}

function scope6(bytes: Uint8Array): AddressScope {
  const a = bytes[0]!;
  const b = bytes[1]!;
  if (bytes.subarray(0, 15).every((byte) => byte === 0)) {
    if (bytes[15] === 0) return 'unspecified';
    if (bytes[15] === 1) return 'loopback';
  }
  if (a === 0xfe && (b & 0xc0) === 0x80) return 'link-local';
  // Site-local (deprecated, RFC 3879) is still a private network.
  if ((a & 0xfe) === 0xfc || (a === 0xfe && (b & 0xc0) === 0xc0)) return 'private';
  if (a === 0xff) return 'multicast';
  if (matches(bytes, [0x20, 0x01, 0x0d, 0xb8]) || (a === 0x3f && b === 0xff && bytes[2]! < 0x10))
    return 'documentation';
  return (a & 0xe0) === 0x20 ? 'global' : 'reserved';
}

/** 127.0.0.0/8 or ::1, IPv4-mapped included. */
export function isLoopback(text: string): boolean {
  return addressScope(text) === 'loopback';
}

/** 169.254.0.0/16 or fe80::/10. */
export function isLinkLocal(text: string): boolean {
  return addressScope(text) === 'link-local';
}

/** True for an address of a private network: RFC 1918, unique local IPv6 (RFC 4193) or carrier-shared 100.64.0.0/10. */
export function isPrivateAddress(text: string): boolean {
  const scope = addressScope(text);
  return scope === 'private' || scope === 'shared';
}

/** 0.0.0.0 or ::, the address that stands for all of a host's. */
export function isUnspecified(text: string): boolean {
  return addressScope(text) === 'unspecified';
}

/** The IPv4 address inside an IPv4-mapped one (`::ffff:192.0.2.1`); any other text unchanged. */
export function unmapAddress(text: string): string {
  if (!text.includes(':')) return text;
  const bytes = addressToBytes(text);
  return bytes?.length === 16 && isMapped(bytes) ? bytes.subarray(12).join('.') : text;
}
