import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { freePort } from '../../packages/net/test/free-port.ts';

const PROGRAM = join(import.meta.dirname, '../../../shared/cases/fakecam.mjs');
const TOWPATH = join(import.meta.dirname, '../../packages/towpath/bin/towpath.js');
const LIMIT_MS = 400_000;

/** The file that the fake camera makes of an item. */
function pictureOf(bytes: number, mediaNum: number): Buffer {
  const picture = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at++) picture[at] = (at * 31 + mediaNum * 17 + (at >> 8)) & 0xff;
  picture.set([0xff, 0xd8, 0xff, 0xe0], 0);
  picture.set([0xff, 0xd9], bytes - 2);
  return picture;
}

describe.skipIf(!existsSync(PROGRAM))(
  'fake cameras (skipped where ../shared/cases is absent)',
  { timeout: LIMIT_MS },
  () => {
    const started: ChildProcess[] = [];
    let folder = '';

    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), 'towpath-fakecam-'));
    });

    afterEach(() => {
      for (const child of started.splice(0)) child.kill();
      rmSync(folder, { recursive: true, force: true });
    });

    function start(program: string, args: readonly string[]): { child: ChildProcess; said: () => string } {
      const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
      started.push(child);
      let text = '';
      for (const stream of [child.stdout, child.stderr]) stream?.on('data', (piece) => (text += String(piece)));
      return { child, said: () => text };
    }

    test.each([
      ['plain', 'an ordinary camera', 5, 20_000],
      ['busy', 'opens no session for four seconds', 5, 20_000],
      ['loseearly', 'loses the first packets', 5, 20_000],
      ['zombie', 'forgets its session silently', 60, 900_000],
      ['many', 'has 2,300 items', 2_300, 2_000],
      ['wrap', 'loses packets while the packet numbers wrap', 90, 900_000],
    ])(
      '%s: one that %s is downloaded from completely, over one session at a time (C8)',
      async (scenario, _, items, bytes) => {
        const [port, searchPort] = [String(await freePort()), String(await freePort())];
        const camera = start(PROGRAM, [scenario, port, searchPort]);
        await expect.poll(camera.said, { timeout: 30_000 }).toContain('scenario');
        const output = join(folder, 'pictures');
        const { child, said } = start(TOWPATH, [
          ...['camera', 'download', '127.0.0.1', '--ports', port, '--search-port', searchPort, '-o', output],
        ]);
        const code = await new Promise((resolve) => child.once('close', resolve));
        expect([code, said()]).toEqual([0, expect.stringContaining(`${items} saved`)]);
        const files = readdirSync(output).filter((name) => name.endsWith('.jpg'));
        expect(files).toHaveLength(items);
        for (const name of files.filter((_name, at) => at % Math.ceil(items / 20) === 0)) {
          const mediaNum = Number(/_(\d+)\.jpg$/.exec(name)?.[1]);
          expect(readFileSync(join(output, name)).equals(pictureOf(bytes, mediaNum)), name).toBe(true);
        }
        // A second session is opened only when the first is gone.
        const sessions = camera.said().split('session with').length - 1;
        expect(sessions).toBe(1 + (scenario === 'zombie' ? camera.said().split('restarts without').length - 1 : 0));
      },
    );
  },
);
