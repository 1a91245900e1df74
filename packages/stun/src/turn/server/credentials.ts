import { createHmac } from 'node:crypto';

/** Where the server finds the password of a user name. */
export interface CredentialsOptions {
  /**
   * Secrets of time-limited credentials (coturn's `use-auth-secret`): user name `expiry:userid`, password
   * base64(HMAC-SHA1(secret, user name)). Several while a secret is being replaced.
   */
  secrets?: readonly string[];
  /** Users with a fixed password. */
  users?: Readonly<Record<string, string>>;
  /**
   * Called with each request whose integrity is valid; true refuses the credentials although they have not expired. `user`
   * is the user id behind a time-limited name. `TurnServer.endAllocations` ends what such a user has already.
   */
  isRevoked?(username: string, user: string): boolean;
}

/** Passwords that may be right for a user name, and who the user is for quotas. */
export interface UserLookup {
  readonly user: string;
  readonly timeLimited: boolean;
  /** When the name stops working, ms since the Unix epoch; undefined for a fixed password. */
  readonly expiresAtMs: number | undefined;
  /** Derived when asked for: most requests are checked with a key that is known already. */
  passwords(): readonly string[];
}

/**
 * Finds the passwords of a user name; undefined when there is no such user or its time is over.
 * @param wallMs time since the Unix epoch.
 */
export function lookUpUser(options: CredentialsOptions, username: string, wallMs: number): UserLookup | undefined {
  const { secrets = [], users = {} } = options;
  if (Object.hasOwn(users, username)) {
    return { user: username, timeLimited: false, expiresAtMs: undefined, passwords: () => [users[username]!] };
  }
  if (secrets.length === 0) return undefined;
  const expiry = EXPIRING_NAME.exec(username);
  const expiresAtMs = Number(expiry?.[1]) * 1000;
  if (expiry === null || expiresAtMs <= wallMs) return undefined;
  const user = expiry[2] ?? '';
  return {
    user,
    timeLimited: true,
    expiresAtMs,
    passwords: () => secrets.map((secret) => passwordFor(secret, username)),
  };
}

/** `expiry:userid`, the expiry in seconds since the Unix epoch. */
const EXPIRING_NAME = /^(\d{1,12})(?::(.*))?$/s;

/** User name and password that a server with `secret` accepts until they expire. */
export interface TimeLimitedCredentials {
  readonly username: string;
  readonly password: string;
  /** When they stop working, ms since the Unix epoch. */
  readonly expiresAtMs: number;
}

/**
 * Makes time-limited credentials of the scheme that coturn calls `use-auth-secret`.
 * @param wallMs now, ms since the Unix epoch.
 */
export function timeLimitedCredentials(
  secret: string,
  userId: string,
  lifetimeMs: number,
  wallMs: number,
): TimeLimitedCredentials {
  const expiry = Math.floor((wallMs + lifetimeMs) / 1000);
  const username = `${expiry}:${userId}`;
  return { username, password: passwordFor(secret, username), expiresAtMs: expiry * 1000 };
}

function passwordFor(secret: string, username: string): string {
  return createHmac('sha1', secret).update(username).digest('base64');
}
