import { type Clock, errorMessage, TowpathError } from '@towpath/core';
import { type Network, parseEndpoint } from '@towpath/net';
import { withinLimit } from './deadline.ts';

/** Whether the network keeps visitors at a page of its own. */
export interface PortalCheck {
  /** `open`: the page answered as it should. `portal`: something else answered in its place. */
  readonly state: 'open' | 'portal' | 'unknown';
  readonly url: string;
  /** HTTP status that came. */
  readonly status?: number;
  /** Where the portal sends visitors. */
  readonly location?: string;
  /** Why nothing is known. */
  readonly reason?: string;
}

/** The answer is a status line and a few headers; a portal's page is not read. */
const MAX_ANSWER_BYTES = 8_192;

const NO_CONTENT = 204;

/**
 * Asks for a page that must answer 204 No Content; a captive portal answers in its place with a redirect or a page.
 * @throws TowpathError `bad-argument` when `url` is not plain HTTP; the signal's reason.
 */
export async function checkPortal(
  { network, clock }: { network: Network; clock: Clock },
  url: string,
  { limitMs, signal }: { limitMs: number; signal: AbortSignal },
): Promise<PortalCheck> {
  const { host, path, address, port } = readPortalUrl(url);
  try {
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
        return {
          state: status === NO_CONTENT ? 'open' : 'portal',
          url,
          status,
          ...(location === undefined ? {} : { location }),
        };
      },
    );
  } catch (error) {
    signal.throwIfAborted();
    return { state: 'unknown', url, reason: errorMessage(error) };
  }
}

/** @throws TowpathError `bad-argument` when `url` is not plain HTTP. */
export function readPortalUrl(url: string): { host: string; path: string; address: string; port: number } {
  const parsed = URL.parse(url);
  const place = parsed?.protocol === 'http:' ? parseEndpoint(parsed.host, 80) : undefined;
  if (!parsed || !place?.ok) {
    throw new TowpathError(
      'bad-argument',
      `${url} is no address of a page over plain HTTP (a portal cannot answer in place of HTTPS). Next: http://HOST/PATH of a page that answers 204.`,
    );
  }
  return { host: parsed.host, path: `${parsed.pathname}${parsed.search}`, ...place.endpoint };
}

/** Sends a request and resolves with the head of the answer, or with all that came when there is none. */
async function exchange(
  network: Network,
  to: { address: string; port: number },
  request: string,
  signal: AbortSignal,
): Promise<string> {
  const head = Promise.withResolvers<string>();
  // The connection may fail before anybody waits for the answer.
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
      // Nothing more is wanted, neither the portal's page nor a polite end.
      connection.destroy();
    }
  } finally {
    signal.removeEventListener('abort', aborted);
  }
}
