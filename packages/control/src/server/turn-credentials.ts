import { createHmac } from 'node:crypto';

/**
 * Credentials that a TURN server which shares `secret` accepts until they expire: user name
 * `<Unix seconds>:<user>`, password base64(HMAC-SHA1(secret, user name)). The scheme of coturn's
 * `use-auth-secret` (draft-uberti-behave-turn-rest-00).
 */
export function issueTurnCredentials(
  secret: string,
  options: { user: string; nowMs: number; validForMs: number },
): { username: string; credential: string; expiresAtMs: number } {
  const expiresAt = Math.floor((options.nowMs + options.validForMs) / 1_000);
  const username = `${expiresAt}:${options.user}`;
  const credential = createHmac('sha1', secret).update(username).digest('base64');
  return { username, credential, expiresAtMs: expiresAt * 1_000 };
}
