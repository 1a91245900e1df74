import { readdirSync, readFileSync } from 'node:fs';
import { extname, join, relative, sep } from 'node:path';
import { PAGE_SECURITY_POLICY } from '@towpath/dashboard/page';

/** One file of the page, in memory: requests cannot name anything else. */
export interface PageFile {
  readonly type: string;
  readonly data: Buffer;
  /** Its name contains a hash of its content. */
  readonly immutable: boolean;
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.json': 'application/json',
  '.webmanifest': 'application/manifest+json',
  '.woff2': 'font/woff2',
  '.txt': 'text/plain; charset=utf-8',
  '.md': 'text/plain; charset=utf-8',
};

/** A page is far smaller; a folder that is larger is not one. */
const MAX_BYTES = 50_000_000;

/** Everything that the page loads is its own, and nothing may frame it. */
export const PAGE_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': PAGE_SECURITY_POLICY,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'x-frame-options': 'DENY',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
};

/** Reads the page: path of a request → file. */
export function loadPage(folder: string): ReadonlyMap<string, PageFile> {
  const files = new Map<string, PageFile>();
  let total = 0;
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const type = TYPES[extname(entry.name)];
    if (!entry.isFile() || type === undefined) continue;
    const path = join(entry.parentPath, entry.name);
    const data = readFileSync(path);
    total += data.length;
    if (total > MAX_BYTES) throw new RangeError(`${folder} is larger than ${MAX_BYTES} bytes.`);
    const name = `/${relative(folder, path).split(sep).join('/')}`;
    files.set(name, { type, data, immutable: name.startsWith('/assets/') });
  }
  const index = files.get('/index.html');
  if (index !== undefined) files.set('/', index);
  return files;
}

/** Stands in for a page that is not built. */
export const NO_PAGE: PageFile = {
  type: 'text/html; charset=utf-8',
  data: Buffer.from(
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Towpath</title><p>The page is not built. Next: <code>npm run build -w @towpath/dashboard</code>, then start Towpath again. The API works.</p></html>\n',
  ),
  immutable: false,
};
