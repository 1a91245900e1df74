import { isIPv4, isIPv6 } from 'node:net';
import { SpliceError } from './splice-error.ts';

/** An IP address and a UDP port. */
export interface Endpoint {
  /** IPv4 or IPv6, without a zone. */
  readonly address: string;
  /** 1 to 65535. */
  readonly port: number;
}

export type IpFamily = 4 | 6;

/**
 * Returns an address as nft prints it, so that it can be compared with what is read back. Everything that reaches nft
 * goes through this function, {@link port}, {@link count} or {@link name}: nothing else can be injected.
 * @throws SpliceError `invalid-value` for text that is no unicast address.
 */
export function address(text: string): string {
  if (isIPv4(text)) {
    const first = Number(text.split('.', 1)[0]);
    if (first === 0 || first >= 224) throw invalid('a unicast IPv4 address', text);
    return text;
  }
  if (!isIPv6(text) || text.includes('%')) throw invalid('an IP address', text);
  const canonical = new URL(`http://[${text}]`).hostname.slice(1, -1);
  // IPv4-mapped and unspecified addresses have other forms; multicast has no single receiver.
  if (canonical.startsWith('::ffff:') || /^::([0-9a-f]+:)?[0-9a-f]*$/.test(canonical) || canonical.startsWith('ff')) {
    if (canonical !== '::1') throw invalid('a unicast IPv6 address', text);
  }
  return canonical;
}

/** Returns an IPv4 network as nft prints it. @throws SpliceError `invalid-value` for what is none of at least 8 bits. */
export function network(value: { readonly address: string; readonly prefixLength: number }): string {
  if (!isIPv4(value.address)) throw invalid('an IPv4 network', value.address);
  return `${value.address}/${prefixLength(value.prefixLength)}`;
}

export function family(text: string): IpFamily {
  return text.includes(':') ? 6 : 4;
}

/** @throws SpliceError `invalid-value` unless it is a whole number from 1 to 65535. */
export function port(value: number): string {
  if (!Number.isInteger(value) || value < 1 || value > 65_535) throw invalid('a port from 1 to 65535', value);
  return String(value);
}

/** @throws SpliceError `invalid-value` unless it is the length of an IPv4 prefix of at least 8 bits. */
export function prefixLength(value: number): number {
  if (!Number.isInteger(value) || value < 8 || value > 32) throw invalid('a prefix length from 8 to 32', value);
  return value;
}

/** @throws SpliceError `invalid-value` unless it is a whole number from `min` to 2^53 - 1. */
export function count(value: number, what: string, min = 0): string {
  if (!Number.isSafeInteger(value) || value < min) throw invalid(`${what}, a whole number from ${min}`, value);
  return String(value);
}

/** Returns the name of a network device in quotes. @throws SpliceError `invalid-value` for what the kernel or nft could misread. */
export function device(value: string): string {
  if (!/^[A-Za-z0-9_.@-]{1,15}$/.test(value)) throw invalid('a device name', value);
  return `"${value}"`;
}

/** Checks the name of a table or object. */
export function name(value: string): string {
  if (!/^[a-z][a-z0-9_-]{0,47}$/.test(value)) throw invalid('a name', value);
  return value;
}

function invalid(expected: string, value: unknown): SpliceError {
  return new SpliceError('invalid-value', `Expected ${expected}, got ${JSON.stringify(value)?.slice(0, 80)}.`);
}

/** Returns the bytes of an address in hexadecimal. */
export function hexAddress(text: string): string {
  return wordsOf(text)
    .map((word) => word.toString(16).padStart(4, '0'))
    .join('');
}

/** Returns the sum of the 16-bit words of an address. */
export function wordSum(text: string): number {
  return wordsOf(text).reduce((sum, word) => sum + word, 0);
}

function wordsOf(text: string): number[] {
  if (family(text) === 4) {
    const [a = 0, b = 0, c = 0, d = 0] = text.split('.').map(Number);
    return [(a << 8) | b, (c << 8) | d];
  }
  const [before = '', after] = text.split('::');
  const words = (part: string) => (part === '' ? [] : part.split(':').map((word) => Number.parseInt(word, 16)));
  if (after === undefined) return words(before);
  const [first, last] = [words(before), words(after)];
  return [...first, ...new Array<number>(8 - first.length - last.length).fill(0), ...last];
}
