import type { Endpoint } from '@towpath/net';
import { isIpAddress, parseEndpoint } from '@towpath/net/address';
import { InvalidArgumentError } from 'commander';

/** Parsers of option values. Each throws `InvalidArgumentError` with the accepted form. */

export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) {
      throw new InvalidArgumentError(`Expected a whole number from ${min} to ${max}.`);
    }
    return value;
  };
}

export function number(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !(value >= min && value <= max)) {
      throw new InvalidArgumentError(`Expected a number from ${min} to ${max}.`);
    }
    return value;
  };
}

/** `10`, `10s`, `30m`, `2h` → seconds. */
export function duration(minSeconds: number, maxSeconds: number): (text: string) => number {
  return (text) => {
    const match = /^(\d+(?:\.\d+)?)([smh]?)$/.exec(text);
    const value = Number(match?.[1]) * (match?.[2] === 'h' ? 3_600 : match?.[2] === 'm' ? 60 : 1);
    if (!(value >= minSeconds && value <= maxSeconds)) {
      throw new InvalidArgumentError(
        `Expected a time from ${minSeconds} s to ${maxSeconds / 3_600} h, such as 10, 30m or 2h.`,
      );
    }
    return value;
  };
}

/** An IP address. */
export function ipAddress(text: string): string {
  if (isIpAddress(text)) return text;
  throw new InvalidArgumentError('Expected an IP address, such as 198.51.100.7 or 2001:db8::7.');
}

/** IP addresses, given several times. */
export function ipAddresses(text: string, before: string[] = []): string[] {
  return [...before, ipAddress(text)];
}

/** A host name, or an IP address. */
export function hostName(text: string): string {
  if (/^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?\.?$/.test(text) || isIpAddress(text)) return text;
  throw new InvalidArgumentError('Expected a host name, such as towpath.example.org.');
}

/** A name of people and parties: it is shown on terminals, and 64 bytes have room. */
export function displayName(text: string): string {
  const bad =
    text.trim() === '' || /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(text) || Buffer.byteLength(text) > MAX_NAME_BYTES;
  if (!bad) return text;
  throw new InvalidArgumentError(`Expected a name of 1 to ${MAX_NAME_BYTES} bytes without control characters.`);
}

const MAX_NAME_BYTES = 64;

/** `40611,32100` → [40611, 32100]. */
export function portList(text: string): number[] {
  return text.split(',').map((part) => integer(1, 65_535)(part.trim()));
}

/** `198.51.100.7,192.0.2.1:32100` → endpoints; addresses, not names. */
export function endpointList(defaultPort: number): (text: string) => Endpoint[] {
  return (text) =>
    text.split(',').map((part) => {
      const parsed = parseEndpoint(part.trim(), defaultPort);
      if (!parsed.ok || !isIpAddress(parsed.endpoint.address)) {
        throw new InvalidArgumentError(`"${part}" is not an IP address. Expected ADDRESS or ADDRESS:PORT.`);
      }
      return parsed.endpoint;
    });
}

/** `relay.example.org`, `198.51.100.7:3478`, `[2001:db8::7]`, given several times. */
export function hostAndPort(defaultPort: number): (text: string, before?: Endpoint[]) => Endpoint[] {
  return (text, before = []) => {
    const parsed = parseEndpoint(text, defaultPort);
    if (!parsed.ok) throw new InvalidArgumentError('Expected HOST or HOST:PORT, IPv6 addresses in brackets.');
    return [...before, parsed.endpoint];
  };
}

/** `32100,32101` → [32100, 32101]; 0 lets the system choose. */
export function listenPortList(text: string): number[] {
  return text.split(',').map((part) => integer(0, 65_535)(part.trim()));
}

/** A comma-separated choice out of `known`. */
export function list(known: readonly string[]): (text: string) => string[] {
  return (text) =>
    text.split(',').map((part) => {
      const value = part.trim();
      if (!known.includes(value)) throw new InvalidArgumentError(`Expected ${known.join(', ')}, separated by commas.`);
      return value;
    });
}

/** Parses a date, local time unless it has a zone. @returns ms since the Unix epoch */
export function date(text: string): number {
  const value = Date.parse(/^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00` : text);
  if (Number.isNaN(value)) throw new InvalidArgumentError('Expected a date such as 2026-05-01 or 2026-05-01T18:00.');
  return value;
}

/** `100/318,100/317` → items. */
export function items(text: string): { dirNum: number; mediaNum: number }[] {
  return text.split(',').map((part) => {
    const match = /^(\d{1,5})\/(\d{1,5})$/.exec(part.trim());
    if (!match) throw new InvalidArgumentError('Expected items as DIR/NUMBER, separated by commas: 100/318,100/317.');
    return { dirNum: Number(match[1]), mediaNum: Number(match[2]) };
  });
}

/** `lan=1,p2p=0.8` → { lan: 1, p2p: 0.8 }. */
export function weights(text: string): Partial<Record<'lan' | 'p2p' | 'relay', number>> {
  return Object.fromEntries(
    text.split(',').map((part) => {
      const match = /^(lan|p2p|relay)=(\d+(?:\.\d+)?)$/.exec(part.trim());
      if (!match)
        throw new InvalidArgumentError('Expected weights of 0 or more, separated by commas: lan=1,p2p=0.8,relay=0.5.');
      return [match[1], Number(match[2])];
    }),
  );
}

/** `Europe/Berlin`, `+02:00`: a zone that this machine knows. */
export function timeZone(text: string): string {
  if (/^[+-](0\d|1[0-4]):?[0-5]\d$/.test(text)) return text;
  try {
    new Intl.DateTimeFormat('en', { timeZone: text });
    return text;
  } catch {
    throw new InvalidArgumentError('It takes a time zone such as Europe/Berlin or +02:00.');
  }
}

/** Where a relay's data passes: the kernel, this process, or the kernel where it can. */
export type DataPlaneMode = 'auto' | 'kernel' | 'user';

const DATA_PLANES: readonly DataPlaneMode[] = ['auto', 'kernel', 'user'];

/** Flags, description, parser and default of `--data-plane`. */
export const DATA_PLANE_OPTION: [string, string, (text: string) => DataPlaneMode, DataPlaneMode] = [
  '--data-plane <plane>',
  'where relayed data passes: kernel (Linux with nftables), user (this process), or auto: the kernel where it can',
  (text) => {
    const mode = DATA_PLANES.find((each) => each === text);
    if (mode === undefined) throw new InvalidArgumentError(`Expected one of ${DATA_PLANES.join(', ')}.`);
    return mode;
  },
  'auto',
];
