import { createHash, timingSafeEqual } from 'node:crypto';

/** Name and password of those who may watch. `password` is a secret. */
export interface RtspUser {
  readonly name: string;
  readonly password: string;
}

const REALM = 'towpath';

const PARAMETER = /[\s,]*(\w{1,32})=(?:"([^"]*)"|([^\s,"]*))/gy;

/** The challenge of a server (RFC 2617 §3.2.1), which every RTSP client understands. */
export function challenge(nonce: string): string {
  return `Digest realm="${REALM}", nonce="${nonce}"`;
}

/** Checks the Authorization header of a request against the nonce of its connection. The password is never sent. */
export function isAuthorized(header: string | undefined, method: string, nonce: string, user: RtspUser): boolean {
  if (header === undefined || !/^Digest /i.test(header)) return false;
  const given = new Map<string, string>();
  // Each piece begins where the one before ends: a header of any form is read in one pass.
  for (const [, name, quoted, bare] of header.slice('Digest'.length).matchAll(PARAMETER)) {
    given.set(name!.toLowerCase(), quoted ?? bare ?? '');
  }
  if (given.get('username') !== user.name || given.get('nonce') !== nonce) return false;
  const wanted = md5(
    `${md5(`${user.name}:${REALM}:${user.password}`)}:${nonce}:${md5(`${method}:${given.get('uri') ?? ''}`)}`,
  );
  const response = Buffer.from(given.get('response') ?? '');
  return response.length === wanted.length && timingSafeEqual(response, Buffer.from(wanted));
}

/** What RFC 2617 asks for; it guards a password on the way, no more. */
function md5(text: string): string {
  return createHash('md5').update(text).digest('hex');
}
