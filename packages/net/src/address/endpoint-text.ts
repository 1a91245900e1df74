import type { Endpoint } from '../endpoint.ts';
import { isIpAddress } from './ip.ts';

/** The port alone is missing or wrong, or the whole text is no endpoint. */
export type EndpointTextFailure = 'empty' | 'bad-host' | 'missing-port' | 'bad-port';

export type EndpointTextResult =
  | { readonly ok: true; readonly endpoint: Endpoint }
  | { readonly ok: false; readonly reason: EndpointTextFailure };

/** A host name as RFC 1123 §2.1 allows it, underscores included because people use them. */
const HOST_NAME =
  /^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*\.?$/i;

/**
 * Reads `host:port`, `192.0.2.1:3478`, `[2001:db8::1]:3478`, or the host alone (an IPv6 address also
 * without brackets) when `defaultPort` is given. Never throws.
 */
export function parseEndpoint(text: string, defaultPort?: number): EndpointTextResult {
  const trimmed = text.trim();
  if (trimmed === '') return { ok: false, reason: 'empty' };
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/s.exec(trimmed);
  if (bracketed) {
    const [, host = '', port] = bracketed;
    return host.includes(':') && isIpAddress(host)
      ? withPort(host, port, defaultPort)
      : { ok: false, reason: 'bad-host' };
  }
  if (isIpAddress(trimmed)) return withPort(trimmed, undefined, defaultPort);
  const colon = trimmed.lastIndexOf(':');
  const host = colon < 0 ? trimmed : trimmed.slice(0, colon);
  const numeric = /^[0-9.]+$/.test(host);
  if (numeric ? !isIpAddress(host) : !HOST_NAME.test(host)) return { ok: false, reason: 'bad-host' };
  return withPort(host, colon < 0 ? undefined : trimmed.slice(colon + 1), defaultPort);
}

function withPort(address: string, text: string | undefined, defaultPort: number | undefined): EndpointTextResult {
  if (text === undefined && defaultPort === undefined) return { ok: false, reason: 'missing-port' };
  if (text !== undefined && !/^\d{1,5}$/.test(text)) return { ok: false, reason: 'bad-port' };
  const port = text === undefined ? defaultPort! : Number(text);
  if (!isPort(port)) return { ok: false, reason: 'bad-port' };
  return { ok: true, endpoint: { address, port } };
}

/** True for a port that something can be sent to: an integer from 1 to 65535. */
export function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65_535;
}
