import { type Endpoint, isIpAddress, parseEndpoint } from '@towpath/net';
import { InvalidArgumentError } from 'commander';

/** Parsers of option values: each refuses what it cannot mean with a sentence that says what it takes. */

export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) {
      throw new InvalidArgumentError(`It takes a whole number from ${min} to ${max}.`);
    }
    return value;
  };
}

export function number(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !(value >= min && value <= max)) {
      throw new InvalidArgumentError(`It takes a number from ${min} to ${max}.`);
    }
    return value;
  };
}

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
        throw new InvalidArgumentError(`"${part}" is no address; it takes IP addresses, with or without :PORT.`);
      }
      return parsed.endpoint;
    });
}

/** `relay.example.org`, `198.51.100.7:3478`, `[2001:db8::7]`, given several times. */
export function hostAndPort(defaultPort: number): (text: string, before?: Endpoint[]) => Endpoint[] {
  return (text, before = []) => {
    const parsed = parseEndpoint(text, defaultPort);
    if (!parsed.ok) throw new InvalidArgumentError('It takes HOST or HOST:PORT; IPv6 addresses in brackets.');
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
      if (!known.includes(value)) throw new InvalidArgumentError(`It takes ${known.join(', ')}, separated by commas.`);
      return value;
    });
}

/** A date as a person writes it, local time unless it says otherwise; ms since the Unix epoch. */
export function date(text: string): number {
  const value = Date.parse(/^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00` : text);
  if (Number.isNaN(value)) throw new InvalidArgumentError('It takes a date such as 2026-05-01 or 2026-05-01T18:00.');
  return value;
}

/** `100/318,100/317` → items. */
export function items(text: string): { dirNum: number; mediaNum: number }[] {
  return text.split(',').map((part) => {
    const match = /^(\d{1,5})\/(\d{1,5})$/.exec(part.trim());
    if (!match) throw new InvalidArgumentError('It takes items as DIR/NUMBER, separated by commas: 100/318,100/317.');
    return { dirNum: Number(match[1]), mediaNum: Number(match[2]) };
  });
}

/** `lan=1,p2p=0.8` → { lan: 1, p2p: 0.8 }. */
export function weights(text: string): Partial<Record<'lan' | 'p2p' | 'relay', number>> {
  return Object.fromEntries(
    text.split(',').map((part) => {
      const match = /^(lan|p2p|relay)=(\d+(?:\.\d+)?)$/.exec(part.trim());
      if (!match)
        throw new InvalidArgumentError('It takes weights from 0 on, separated by commas: lan=1,p2p=0.8,relay=0.5.');
      return [match[1], Number(match[2])];
    }),
  );
}
