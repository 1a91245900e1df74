import { type Clock, errorMessage, TowpathError } from '@towpath/core';
import { type Network, parseEndpoint } from '@towpath/net';
import { withinLimit } from './deadline.ts';
import { misdirection } from './look-ups.ts';

/** Result of the captive portal test. */
export interface PortalCheck {
  /** `open`: the page answered 204. `portal`: another answered in its place, and no server was reached. */
  readonly state: 'open' | 'portal' | 'unknown';
  readonly url: string;
  /** HTTP status that came. */
  readonly status?: number;
  /** Redirect target of the portal. */
  readonly location?: string;
  /** Why nothing is known. */
  readonly reason?: string;
}

/** Longest response head; the body is not read. */
const MAX_ANSWER_BYTES = 8_192;

const NO_CONTENT = 204;

/**
 * Requests a page that must answer 204 No Content; a captive portal answers with a redirect or a page.
 * @throws TowpathError `bad-argument` when `url` is not plain HTTP; the signal's reason.
 */
export async function checkPortal(
  { network, clock }: { network: Network; clock: Clock },
  url: string,
  { limitMs, nameLimitMs, signal }: { limitMs: number; nameLimitMs: number; signal: AbortSignal },
): Promise<PortalCheck> {
  const { host, path, address: name, port } = readPortalUrl(url);
  try {
    const message = `No name server answered within ${Math.round(nameLimitMs)} ms.`;
    const resolve = (limited: AbortSignal) => network.resolve(name, { signal: limited });
    const addresses = await withinLimit(clock, nameLimitMs, message, signal, resolve);
    const misdirected = misdirection(name, addresses);
    if (misdirected !== undefined) return { state: 'unknown', url, reason: misdirected };
    const [address = name] = byFamily(addresses);
    return await withinLimit(
      clock,
      limitMs,
      `${host} did not answer within ${Math.round(limitMs)} ms.`,
      signal,
      async (limited) => {
        const request = `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\nUser-Agent: towpath\r\n\r\n`;
        const head = await exchange(network, { address, port }, request, limited);
        const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1]);
        if (Number.isNaN(status)) return { state: 'unknown', url, reason: `${host} did not answer with HTTP.` };
        const location = /^location:\s*([!-~]{1,2000})\s*$/im.exec(head)?.[1];
        return { ...verdict(status, location, url), url, status, ...(location === undefined ? {} : { location }) };
      },
    );
  } catch (error) {
    signal.throwIfAborted();
    return { state: 'unknown', url, reason: errorMessage(error) };
  }
}

/** IPv4 first: portals are often found on IPv4 only. */
function byFamily(addresses: readonly string[]): string[] {
  return addresses.toSorted((a, b) => Number(a.includes(':')) - Number(b.includes(':')));
}

/** RFC 6585 §6. */
const NETWORK_AUTHENTICATION_REQUIRED = 511;

/** Portals answer with a page of their own, a redirect to another host, or 511; anything else may be the page itself. */
function verdict(status: number, location: string | undefined, url: string): Pick<PortalCheck, 'state' | 'reason'> {
  if (status === NO_CONTENT) return { state: 'open' };
  if (status === NETWORK_AUTHENTICATION_REQUIRED || status === 200) return { state: 'portal' };
  if (status < 300 || status > 399) return { state: 'unknown', reason: `the page answered ${status} instead of 204` };
  const target = location === undefined ? undefined : URL.parse(location, url);
  if (target && target.hostname !== URL.parse(url)?.hostname) return { state: 'portal' };
  return { state: 'unknown', reason: `the page redirects within its own host (${status})` };
}

/** @throws TowpathError `bad-argument` when `url` is not plain HTTP. */
export function readPortalUrl(url: string): { host: string; path: string; address: string; port: number } {
  const parsed = URL.parse(url);
  const place = parsed?.protocol === 'http:' ? parseEndpoint(parsed.host, 80) : undefined;
  if (!parsed || !place?.ok) {
    throw new TowpathError(
      'bad-argument',
      `${url} is not an http:// URL (a portal cannot answer for HTTPS). Next: use http://HOST/PATH of a page that answers 204, over plain HTTP.`,
    );
  }
  return { host: parsed.host, path: `${parsed.pathname}${parsed.search}`, ...place.endpoint };
}

/** Sends a request. @returns the head of the response, or everything received when it is incomplete */
async function exchange(
  network: Network,
  to: { address: string; port: number },
  request: string,
  signal: AbortSignal,
): Promise<string> {
  const head = Promise.withResolvers<string>();
  // The connection may fail before the response is awaited.
  head.promise.catch(() => undefined);
  const aborted = () => head.reject(signal.reason);
  signal.addEventListener('abort', aborted, { once: true });
  let text = '';
  try {
    const connection = await network.connectTcp(to, {
      signal,
      onData(data) {
        text += Buffer.from(data).toString('latin1');
        if (text.includes('\r\n\r\n') || text.length >= MAX_ANSWER_BYTES) head.resolve(text.slice(0, MAX_ANSWER_BYTES));
      },
      onClose: (error) => (error === undefined || text !== '' ? head.resolve(text) : head.reject(error)),
    });
    try {
      connection.write(Buffer.from(request, 'latin1'));
      return await head.promise;
    } finally {
      // The rest of the response is not needed.
      connection.destroy();
    }
  } finally {
    signal.removeEventListener('abort', aborted);
  }
}
