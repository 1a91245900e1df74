import { UsageError } from './failure.ts';

const DEFAULT_PORT = 4100;

/** `HOST`, `HOST:PORT` and URLs, as a URL. @throws UsageError. */
export function serverUrl(text: string): string {
  const whole = /^https?:\/\//.test(text) ? text : `http://${text}`;
  const url = URL.canParse(whole) ? new URL(whole) : undefined;
  if (url === undefined || url.pathname !== '/' || url.search !== '' || url.username !== '') {
    throw new UsageError(`"${text}" is not a control server. Expected 198.51.100.7, HOST:4100 or https://HOST.`);
  }
  // A URL has the default port of its scheme.
  if (whole !== text && url.port === '') url.port = String(DEFAULT_PORT);
  return url.origin;
}
