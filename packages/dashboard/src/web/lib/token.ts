/** What of the browser the token needs; `window` in the page. */
export interface TokenHost {
  readonly location: { readonly hash: string; readonly pathname: string; readonly search: string };
  readonly history: { replaceState(data: unknown, unused: string, url: string): void };
}

/** Characters that a token has; anything else is no token and is never sent. */
const TOKEN = /^[\w.~+/=-]{16,512}$/;

/**
 * Takes the token out of the address, `#token=…`, so that neither the address bar nor the history shows it. It is not
 * stored: it is exchanged for a cookie that scripts cannot read.
 */
export function takeToken({ location, history }: TokenHost): string | undefined {
  const fragment = new URLSearchParams(location.hash.replace(/^#\/?/, ''));
  const given = fragment.get('token');
  if (given === null) return undefined;
  const route = fragment.get('to') ?? '/';
  const target = /^\/[\w/%.~-]*$/.test(route) ? route : '/';
  history.replaceState(null, '', `${location.pathname}${location.search}#${target}`);
  return TOKEN.test(given) ? given : undefined;
}

/** Reads a token out of what a person pasted: the whole link, or the token alone. */
export function tokenOf(text: string): string | undefined {
  const trimmed = text.trim();
  const token = /[#&?/]token=([^&\s]+)/.exec(trimmed)?.[1] ?? trimmed;
  return TOKEN.test(token) ? token : undefined;
}
