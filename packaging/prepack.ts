/**
 * Runs as `prepack` of each package: builds it, and gives it the manifest of a published package until `postpack` puts
 * the source's own back.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { buildPackage, publishedManifest, type SourceManifest } from './build.ts';

const folder = process.cwd();
const root = join(import.meta.dirname, '..');
const file = join(folder, 'package.json');
const source = readFileSync(file, 'utf8');
const manifest = JSON.parse(source) as SourceManifest;

writeFileSync(join(folder, '.package.source.json'), source);
await buildPackage(folder, manifest.exports ?? {});
if (basename(folder) === 'dashboard') execFileSync('npm', ['run', '--silent', 'build'], { stdio: 'inherit' });
copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'));
writeFileSync(file, `${JSON.stringify(publishedManifest(manifest, folder), undefined, 2)}\n`);
