import type { Endpoint } from '@towpath/net';
import { CodecError } from './codec-error.ts';

/** Size of a socket address on the wire (docs/protocol/pppp.md, "Socket address"). */
export const SOCKET_ADDRESS_BYTES = 16;

const FAMILY_IPV4 = 2;

/**
 * Writes a socket address: family 2 big-endian, port **little**-endian, IPv4 reversed, eight zeros.
 * `undefined` becomes sixteen zeros, which is how an address that does not exist is sent (docs/protocol/pppp.md,
 * "Session report").
 * @throws CodecError `address-invalid` when the address is not IPv4 or the port does not fit.
 */
export function writeSocketAddress(target: Uint8Array, at: number, endpoint: Endpoint | undefined): void {
  target.fill(0, at, at + SOCKET_ADDRESS_BYTES);
  if (endpoint === undefined) return;
  const ip = ipv4ToNumber(endpoint.address);
  const { port } = endpoint;
  if (ip === undefined || !Number.isInteger(port) || port < 0 || port > 0xffff) {
    throw new CodecError(
      'address-invalid',
      `${endpoint.address}:${port} is no IPv4 endpoint; PPPP carries only those.`,
    );
  }
  target[at + 1] = FAMILY_IPV4;
  target[at + 2] = port;
  target[at + 3] = port >>> 8;
  target[at + 4] = ip;
  target[at + 5] = ip >>> 8;
  target[at + 6] = ip >>> 16;
  target[at + 7] = ip >>> 24;
}

/**
 * Reads a socket address; the caller has checked the length. Family 0 is what one client sends for its local
 * address, with a big-endian port and no IP: that is understood. Sixteen zeros and unknown families are
 * `undefined`: an address inside a request need not be sane (docs/protocol/pppp.md, "Socket address", "Dialects").
 */
export function readSocketAddress(bytes: Uint8Array, at: number): Endpoint | undefined {
  const family = (bytes[at]! << 8) | bytes[at + 1]!;
  const low = bytes[at + 2]!;
  const high = bytes[at + 3]!;
  const address = `${bytes[at + 7]}.${bytes[at + 6]}.${bytes[at + 5]}.${bytes[at + 4]}`;
  // 0x0200: the family in the sender's own little-endian order.
  if (family === FAMILY_IPV4 || family === 0x0200) return { address, port: (high << 8) | low };
  if (family !== 0) return undefined;
  const port = (low << 8) | high;
  return port === 0 && address === '0.0.0.0' ? undefined : { address, port };
}

/** The 32 bits of an IPv4 address in text form (`::ffff:` before it is tolerated), or undefined. */
export function ipv4ToNumber(address: string): number | undefined {
  let at = address.startsWith('::ffff:') ? 7 : 0;
  let value = 0;
  for (let part = 0; part < 4; part++) {
    let octet = 0;
    const start = at;
    for (; at < address.length; at++) {
      const digit = address.charCodeAt(at) - 0x30;
      if (digit < 0 || digit > 9) break;
      octet = octet * 10 + digit;
    }
    if (at === start || at - start > 3 || octet > 255) return undefined;
    value = (value << 8) | octet;
    if (part < 3 && address.charCodeAt(at++) !== 0x2e) return undefined;
  }
  return at === address.length ? value >>> 0 : undefined;
}
