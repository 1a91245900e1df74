import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');
const SLOW_MS = 600_000;

/** Packs a copy of the tree, so that a run that is ended in the middle leaves no changed manifest in it. */
describe('packages, packed and installed into an empty folder', () => {
  const folder = mkdtempSync(join(tmpdir(), 'towpath-packages-'));
  const tree = join(folder, 'tree');
  const empty = join(folder, 'empty');
  const bin = join(empty, 'node_modules/.bin');
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` };
  const installed = (command: string, ...args: string[]) => run(join(bin, command), args, { cwd: empty, env });

  beforeAll(async () => {
    const files = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
      cwd: root,
      encoding: 'utf8',
    })
      .split('\0')
      .filter(Boolean);
    for (const file of files) if (existsSync(join(root, file))) cpSync(join(root, file), join(tree, file));
    await run('npm', ['ci', '--no-audit', '--no-fund'], { cwd: tree });
    await run('npm', ['pack', '--workspaces', '--pack-destination', folder], { cwd: tree, maxBuffer: 2 ** 26 });
    mkdirSync(empty);
    writeFileSync(join(empty, 'package.json'), '{ "private": true, "type": "module" }\n');
    const tarballs = readdirSync(folder).filter((file) => file.endsWith('.tgz'));
    await run(
      'npm',
      [
        'install',
        '--no-audit',
        '--no-fund',
        'node@22',
        'typescript@7.0.2',
        '@types/node@22',
        ...tarballs.map((file) => join(folder, file)),
      ],
      { cwd: empty, maxBuffer: 2 ** 26 },
    );
  }, SLOW_MS);

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('the sources keep their manifests', () => {
    for (const name of readdirSync(join(root, 'packages'))) {
      const file = join('packages', name, 'package.json');
      if (!existsSync(join(root, file))) continue;
      expect(readFileSync(join(tree, file), 'utf8')).toBe(readFileSync(join(root, file), 'utf8'));
    }
  });

  test('towpath --help lists every group of commands on Node 22', async () => {
    expect((await installed('node', '--version')).stdout).toMatch(/^v22\./);
    const { stdout } = await installed('node', join(bin, 'towpath'), '--help');
    for (const group of ['camera', 'party', 'relay', 'serve', 'netcheck', 'demo'])
      expect(stdout).toContain(`\n  ${group} `);
  });

  test('towpath demo finds the camera and downloads its pictures', { timeout: SLOW_MS }, async () => {
    const { stdout, stderr } = await installed('node', join(bin, 'towpath'), 'demo', '--json');
    const steps = `${stdout}${stderr}`;
    expect(steps).toContain('"done"');
  });

  test('the dashboard has its page, and tells where it is', async () => {
    const script = `import { pageFolder } from '@towpath/dashboard/page'; console.log(pageFolder());`;
    const { stdout } = await installed('node', '--input-type=module', '--eval', script);
    const names = readdirSync(stdout.trim());
    expect(names).toContain('index.html');
    expect(readdirSync(join(stdout.trim(), 'assets')).some((name) => name.endsWith('.js'))).toBe(true);
  });

  test('towpath serve starts and ends cleanly', { timeout: SLOW_MS }, async () => {
    const args = ['serve', '--port', '0', '--stun-port', '0', '--data', join(empty, 'data'), '--json'];
    const server = spawn(join(bin, 'node'), [join(bin, 'towpath'), ...args], { cwd: empty, env });
    let out = '';
    server.stdout.on('data', (part) => {
      out += String(part);
    });
    await expect.poll(() => out, { timeout: 60_000 }).toContain('"control"');
    server.kill('SIGTERM');
    expect(await once(server, 'exit')).toEqual([130, null]);
  });

  test('imports have types under strict settings, library checks included', async () => {
    const names = readdirSync(join(root, 'packages')).filter((name) => name !== 'towpath' && name !== 'dashboard');
    const lines = names.map((name, index) => `import * as package${index} from '@towpath/${name}';`);
    lines.push(
      `console.log(${names.map((_, index) => `Object.keys(package${index}).length > 0`).join(' && ')});`,
      `import { SystemClock } from '@towpath/core';`,
      `export const clock: SystemClock = new SystemClock();`,
      `// @ts-expect-error a clock's time is a number, so the types are not any`,
      `export const text: string = clock.now();`,
    );
    writeFileSync(join(empty, 'imports.ts'), `${lines.join('\n')}\n`);
    const strict = ['--noEmit', '--strict', '--skipLibCheck', 'false', '--module', 'nodenext', '--target', 'es2024'];
    const options = [...strict, '--lib', 'es2024,esnext.disposable', '--types', 'node', 'imports.ts'];
    await installed('tsc', ...options).catch((error: { stdout: string }) => expect(error.stdout).toBe(''));
    const { stdout } = await installed('node', '--experimental-strip-types', 'imports.ts');
    expect(stdout.trim()).toBe('true');
  });
});
