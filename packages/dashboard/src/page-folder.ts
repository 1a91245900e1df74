import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * Returns the folder with the built page: `index.html` and, under `assets/`, files whose names change with their
 * content. Undefined when it was not built (`npm run build -w @towpath/dashboard`).
 */
export function pageFolder(): string | undefined {
  const folder = fileURLToPath(new URL('../page/', import.meta.url));
  return existsSync(`${folder}index.html`) ? folder : undefined;
}

/**
 * The Content-Security-Policy of the page: nothing but its own files and the daemon's API; pictures and videos of the
 * live view are made in the page (`blob:`).
 */
export const PAGE_SECURITY_POLICY: string = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "font-src 'self'",
  "img-src 'self' blob:",
  "media-src 'self' blob:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');
