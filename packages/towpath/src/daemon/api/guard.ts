import type { IncomingMessage } from 'node:http';
import { type Clock, RateLimit } from '@towpath/core';
import type { ApiToken } from './token.ts';

/** Why a request is refused. */
export interface Refusal {
  readonly status: 401 | 403 | 421 | 429;
  readonly code: string;
  readonly message: string;
}

export const SESSION_COOKIE = 'towpath_session';

/** Wrong tokens of all callers together: a token of 256 bits is not guessed, but a log is filled. */
const WRONG_TOKENS = { perSecond: 1, burst: 20 } as const;

/**
 * Decides who may use the HTTP API on the loopback address, where every program and every web page of this machine can
 * send requests:
 *
 * - the host must be this listener, so that a name that was rebound to 127.0.0.1 is refused;
 * - a request that a browser sends for another origin is refused, whatever cookies it has;
 * - everything but the page itself needs the token or the page's cookie.
 */
export class Guard {
  readonly #token: ApiToken;
  readonly #wrong: RateLimit;
  readonly #hosts: () => readonly string[];

  /** @param options.hosts what `Host` may be: `127.0.0.1:4180` */
  constructor({ clock }: { clock: Clock }, options: { token: ApiToken; hosts: () => readonly string[] }) {
    this.#token = options.token;
    this.#hosts = options.hosts;
    this.#wrong = new RateLimit({ clock }, WRONG_TOKENS);
  }

  /** Checks where a request was sent to and where it comes from. */
  checkOrigin({ headers }: IncomingMessage, options: { navigation: boolean }): Refusal | undefined {
    const { host = '', origin } = headers;
    if (!this.#hosts().includes(host.toLowerCase())) {
      return {
        status: 421,
        code: 'wrong-host',
        message: `This is not ${host.slice(0, 100)}. Next: use the address that "towpath dashboard" prints.`,
      };
    }
    if (origin !== undefined && origin.toLowerCase() !== `http://${host.toLowerCase()}`) return OTHER_ORIGIN;
    const site = headers['sec-fetch-site'];
    const isForeign = site !== undefined && site !== 'same-origin' && site !== 'none';
    if (isForeign && !(options.navigation && headers['sec-fetch-mode'] === 'navigate')) return OTHER_ORIGIN;
    return undefined;
  }

  /** Checks the token or the cookie. */
  checkToken({ headers }: IncomingMessage): Refusal | undefined {
    const bearer = /^Bearer ([\w-]{1,200})$/.exec(headers.authorization ?? '')?.[1];
    if (bearer !== undefined && this.#token.isToken(bearer)) return undefined;
    const cookie = cookieOf(headers.cookie ?? '');
    if (cookie !== undefined && this.#token.isSession(cookie)) return undefined;
    return bearer === undefined && cookie === undefined ? NO_TOKEN : this.wrongToken();
  }

  /** Checks a token that was sent for a session. */
  checkSession(token: string): Refusal | undefined {
    return this.#token.isToken(token) ? undefined : this.wrongToken();
  }

  wrongToken(): Refusal {
    return this.#wrong.take() ? NO_TOKEN : TOO_MANY;
  }

  /** Attributes of the page's cookie; it is not sent by requests of other sites. */
  sessionCookie(): string {
    return `${SESSION_COOKIE}=${this.#token.session}; ${COOKIE_ATTRIBUTES}; Max-Age=31536000`;
  }
}

const COOKIE_ATTRIBUTES = 'Path=/; HttpOnly; SameSite=Strict';

/** Ends a session of the page. */
export const NO_COOKIE: string = `${SESSION_COOKIE}=; ${COOKIE_ATTRIBUTES}; Max-Age=0`;

const OTHER_ORIGIN: Refusal = {
  status: 403,
  code: 'other-origin',
  message: 'Requests of other web pages are refused.',
};
const NO_TOKEN: Refusal = {
  status: 401,
  code: 'unauthorized',
  message: 'The token is missing or wrong. Next: open the link that "towpath dashboard" prints.',
};
const TOO_MANY: Refusal = {
  status: 429,
  code: 'limit-exceeded',
  message: 'Too many wrong tokens. Next: open the link that "towpath dashboard" prints.',
};

function cookieOf(text: string): string | undefined {
  for (const part of text.slice(0, 4_096).split(';')) {
    const [name, value] = part.trim().split('=');
    if (name === SESSION_COOKIE) return value;
  }
  return undefined;
}
