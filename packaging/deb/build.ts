/**
 * `npm run deb`: builds the Debian packages, with Node of the registry's per-platform packages, units, manual pages,
 * completion and a user.
 *
 *   npm run deb -- --arch amd64 --output FOLDER     (default: both architectures, the current folder)
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, extname, join } from 'node:path';
import { createHash } from 'node:crypto';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { commandTree } from '../../packages/towpath/src/cli/command-tree.ts';
import { manPages } from '../../packages/towpath/src/cli/man-page.ts';
import { createProgram } from '../../packages/towpath/src/cli/program.ts';
import { completion } from '../../packages/towpath/src/commands/daemon/completion.ts';
import { buildPackage, publishedManifest, type SourceManifest } from '../build.ts';
import { closureOf, type NeededPackage } from '../closure.ts';
import {
  ARCHITECTURES,
  type Architecture,
  control,
  daemonUnit,
  LAUNCHER,
  LIB_FOLDER,
  POSTINST,
  POSTRM,
  PRERM,
  STATE_FOLDER,
  serveUnit,
  SYSUSERS,
} from './files.ts';

const root = join(import.meta.dirname, '../..');
const app = join(root, 'packages/towpath');
const { values } = parseArgs({
  options: { arch: { type: 'string', multiple: true }, output: { type: 'string', default: '.' } },
});
const architectures = (values.arch ?? Object.keys(ARCHITECTURES)).map((arch) => {
  if (!(arch in ARCHITECTURES)) throw new Error(`--arch must be ${Object.keys(ARCHITECTURES).join(' or ')}.`);
  return arch as Architecture;
});

const { version } = JSON.parse(readFileSync(join(app, 'package.json'), 'utf8')) as { version: string };
const work = mkdtempSync(join(tmpdir(), 'towpath-deb-'));
try {
  const program = join(work, 'program');
  await stageProgram(program);
  const documents = join(work, 'documents');
  await stageDocuments(documents);
  mkdirSync(values.output, { recursive: true });
  for (const arch of architectures) console.log(packDebian(arch, program, documents));
} finally {
  rmSync(work, { recursive: true, force: true });
}

/** The program with everything that it needs, the same for all processors. */
async function stageProgram(target: string): Promise<void> {
  buildPage();
  const needed = closureOf(root, app);
  const own: NeededPackage = { name: 'towpath', folder: app, place: '', isOwn: true };
  for (const each of [own, ...needed.filter(({ isOwn }) => isOwn)]) {
    await stageOwn(each, each === own ? target : join(target, 'node_modules', each.place));
  }
  for (const { folder, place, isOwn } of needed) {
    if (isOwn) continue;
    cpSync(folder, join(target, 'node_modules', place), { recursive: true, dereference: true, filter: isNeeded });
  }
}

async function stageOwn({ folder }: NeededPackage, target: string): Promise<void> {
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as SourceManifest;
  await buildPackage(folder, manifest.exports ?? {});
  for (const part of ['dist', 'bin', 'page']) {
    const from = join(folder, part);
    if (existsSync(from)) cpSync(from, join(target, part), { recursive: true, filter: isNeeded });
  }
  rmSync(join(folder, 'dist'), { recursive: true });
  writeFileSync(join(target, 'package.json'), `${JSON.stringify(publishedManifest(manifest, folder), undefined, 2)}\n`);
}

function buildPage(): void {
  execFileSync('npm', ['run', '--silent', 'build', '-w', '@towpath/dashboard'], { cwd: root, stdio: ['ignore', 2, 2] });
}

/** What only a compiler or a reader needs stays out, and so does what a package has installed for itself. */
function isNeeded(path: string): boolean {
  if (basename(path) === 'node_modules') return false;
  return !['.map', '.md', '.markdown'].includes(extname(path)) && !/\.d\.[cm]?ts$/.test(path);
}

/** Units, manual pages, completion, and the documents that Debian wants. */
async function stageDocuments(target: string): Promise<void> {
  const io = {
    err: () => {},
    draw: () => {},
    redraw: () => {},
    write: async () => {},
    interactive: false,
    columns: 80,
    style: (_style: string, text: string) => text,
    env: {},
  };
  const lines: string[] = [];
  const runtime = {
    io: { ...io, out: (line: string) => void lines.push(line) },
    signal: new AbortController().signal,
    configFolder: STATE_FOLDER,
  } as unknown as Parameters<typeof createProgram>[0];
  const whole = await createProgram(runtime);
  const date = new Date(releasedMs()).toISOString().slice(0, 10);
  for (const { file, text } of manPages(commandTree(whole), { version, date })) {
    write(join(target, 'usr/share/man/man1', `${file}.gz`), gzipSync(text, { level: 9 }));
  }
  const completions = {
    bash: 'usr/share/bash-completion/completions/towpath',
    zsh: 'usr/share/zsh/vendor-completions/_towpath',
    fish: 'usr/share/fish/vendor_completions.d/towpath.fish',
  };
  for (const [shell, path] of Object.entries(completions)) {
    lines.length = 0;
    await completion(runtime, whole, shell, {});
    write(join(target, path), `${lines.join('\n')}\n`);
  }
  write(join(target, 'usr/lib/systemd/system/towpath.service'), daemonUnit());
  const deployed = readFileSync(join(root, 'deploy/towpath.service'), 'utf8');
  write(join(target, 'usr/lib/systemd/system/towpath-serve.service'), serveUnit(deployed));
  write(join(target, 'usr/lib/sysusers.d/towpath.conf'), SYSUSERS);
  write(join(target, 'usr/bin/towpath'), LAUNCHER, 0o755);
  write(join(target, 'usr/share/doc/towpath/copyright'), readFileSync(join(root, 'LICENSE')));
  write(join(target, 'usr/share/doc/towpath/changelog.gz'), gzipSync(readFileSync(join(root, 'CHANGELOG.md'))));
}

function packDebian(arch: Architecture, program: string, documents: string): string {
  const target = join(work, arch);
  cpSync(documents, target, { recursive: true });
  cpSync(program, join(target, LIB_FOLDER), { recursive: true });
  const node = join(target, LIB_FOLDER, 'bin/node');
  cpSync(nodeOf(arch), node);
  chmodSync(node, 0o755);
  chmodSync(join(target, LIB_FOLDER, 'bin/towpath.js'), 0o755);
  const files = readdirSync(target, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(target.length + 1))
    .sort();
  const foreign = files.filter((file) => file.endsWith('.node'));
  if (foreign.length > 0) throw new Error(`Native code for one processor only: ${foreign.join(', ')}`);
  const bytes = files.reduce((sum, file) => sum + statSync(join(target, file)).size, 0);
  const sums = files.map(
    (file) =>
      `${createHash('md5')
        .update(readFileSync(join(target, file)))
        .digest('hex')}  ${file}\n`,
  );
  write(join(target, 'DEBIAN/md5sums'), sums.join(''));
  write(
    join(target, 'DEBIAN/control'),
    control({ version, architecture: arch, installedKb: Math.ceil(bytes / 1_024) }),
  );
  for (const [name, text] of Object.entries({ postinst: POSTINST, prerm: PRERM, postrm: POSTRM })) {
    write(join(target, 'DEBIAN', name), text, 0o755);
  }
  const file = join(values.output, `towpath_${version}_${arch}.deb`);
  execFileSync('dpkg-deb', ['--root-owner-group', '-Zzstd', '-z9', '--build', target, file], {
    stdio: ['ignore', 2, 2],
    env: { ...process.env, SOURCE_DATE_EPOCH: String(Math.floor(releasedMs() / 1_000)) },
  });
  return file;
}

/** Node for a processor, from the registry's package for it, in the version that the repository pins. */
function nodeOf(arch: Architecture): string {
  const pinned = JSON.parse(readFileSync(join(root, 'node_modules/node/package.json'), 'utf8')) as { version: string };
  const name = `node-linux-${ARCHITECTURES[arch]}`;
  const folder = join(work, name);
  const here = join(root, 'node_modules/node/bin/node');
  if (ARCHITECTURES[arch] === process.arch && process.platform === 'linux' && existsSync(here)) return here;
  mkdirSync(folder);
  const args = ['pack', `${name}@${pinned.version}`, '--pack-destination', folder, '--silent'];
  const tarball = execFileSync('npm', args, { cwd: folder, encoding: 'utf8' }).trim().split('\n').at(-1) ?? '';
  execFileSync('tar', ['-xzf', join(folder, basename(tarball)), '-C', folder, 'package/bin/node']);
  return join(folder, 'package/bin/node');
}

/** Time of the last commit, so that the same sources give the same package. */
function releasedMs(): number {
  if (process.env.SOURCE_DATE_EPOCH) return Number(process.env.SOURCE_DATE_EPOCH) * 1_000;
  try {
    return Number(execFileSync('git', ['log', '-1', '--format=%ct'], { cwd: root, encoding: 'utf8' })) * 1_000;
  } catch {
    // Not a clone.
    return statSync(join(root, 'CHANGELOG.md')).mtimeMs;
  }
}

function write(path: string, content: string | Uint8Array, mode = 0o644): void {
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, content);
  chmodSync(path, mode);
}
