import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

/** Who may read over HTTP. `password` is a secret. */
export interface HttpAccess {
  readonly user: string;
  readonly password: string;
  /** Names and addresses by which the server may be called. */
  readonly hosts: ReadonlySet<string>;
}

/** Why a request is refused; undefined when it is not. */
export type Refusal = { readonly status: 401 | 403; readonly text: string };

/**
 * Checks a request: the Host header, so that no web page reaches the server under a name of its own (DNS rebinding); the
 * Origin header, so that no other page uses the viewer's password; and the password (RFC 7617).
 */
export function refusal(request: IncomingMessage, access: HttpAccess): Refusal | undefined {
  const host = hostName(request.headers.host);
  if (host === undefined || !access.hosts.has(host)) {
    return {
      status: 403,
      text: 'This name is not served. Next: add it to allow-hosts in the configuration, or give --allow-host.',
    };
  }
  const { origin } = request.headers;
  if (origin !== undefined && origin !== `http://${request.headers.host}`) {
    return { status: 403, text: 'Requests of other pages are not served.' };
  }
  const match = /^Basic ([A-Za-z0-9+/=]{1,1024})$/.exec(request.headers.authorization ?? '');
  const given = match === null ? '' : Buffer.from(match[1]!, 'base64').toString('utf8');
  if (!isSame(given, `${access.user}:${access.password}`)) return { status: 401, text: 'A password is needed.' };
  return undefined;
}

/** `[::1]:8080` → `::1`. */
function hostName(header: string | undefined): string | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+))(?::\d{1,5})?$/.exec(header ?? '');
  return (match?.[1] ?? match?.[2])?.toLowerCase();
}

function isSame(a: string, b: string): boolean {
  const hash = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(a), hash(b));
}
