/** Runs as `postpack` of each package: puts the source's own manifest back. */
import { existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const folder = process.cwd();
const saved = join(folder, '.package.source.json');
if (existsSync(saved)) renameSync(saved, join(folder, 'package.json'));
rmSync(join(folder, 'LICENSE'), { force: true });
