import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CameraEmulator, paddedPictures } from '@towpath/camera/emulator';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { components } from '../../packages/towpath/test/command-line.ts';

const TOWPATH = fileURLToPath(new URL('../../packages/towpath/bin/towpath.js', import.meta.url));

interface Told {
  id: string;
  mediaNum: number;
  jpeg: string | null;
}

describe('events of pictures, when the program is killed (B13)', () => {
  let folder: string;
  let camera: CameraEmulator;
  let receiver: Server;
  let told: Told[];
  let isDead: boolean;
  const children: ChildProcess[] = [];

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'towpath-events-'));
    const place = { address: '127.0.0.1', listenPort: 0, searchPort: false } as const;
    camera = new CameraEmulator(components, { ...place, itemCount: 3, pictures: paddedPictures() });
    await camera.start();
    told = [];
    isDead = false;
    receiver = createServer((request, response) => {
      let body = '';
      request.on('data', (part) => {
        body += part;
      });
      request.on('end', () => {
        if (!isDead) told.push(JSON.parse(body));
        response.writeHead(isDead ? 503 : 200).end();
      });
    });
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  });

  afterEach(async () => {
    for (const child of children.splice(0)) await kill(child);
    receiver.close();
    await camera.close();
    rmSync(folder, { recursive: true, force: true });
  });

  async function start(): Promise<{ child: ChildProcess; lines: { type: string; item?: { mediaNum: number } }[] }> {
    const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`;
    const where = ['127.0.0.1', '--ports', String(camera.listen.port), '--only', 'p2p'];
    const args = ['camera', 'outputs', ...where, '--webhook', url, '--every', '1', '--json'];
    const env = { ...process.env, TOWPATH_HOME: folder };
    const child = spawn(process.execPath, [TOWPATH, ...args], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(child);
    const lines: { type: string; item?: { mediaNum: number } }[] = [];
    let text = '';
    child.stdout.on('data', (part) => {
      text += part;
      const whole = text.split('\n');
      text = whole.pop() ?? '';
      lines.push(...whole.map((line) => JSON.parse(line)));
    });
    await expect.poll(() => lines.some(({ type }) => type === 'output'), { timeout: 60_000 }).toBe(true);
    return { child, lines };
  }

  async function kill(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  test('a dead receiver gets, from the next process, what waited and what was taken in between, once each', async () => {
    const first = await start();
    const ledger = join(folder, 'outputs');
    await expect.poll(() => existsSync(ledger), { timeout: 60_000 }).toBe(true);
    const commands = camera.counters.commands;
    await expect.poll(() => camera.counters.commands - commands, { timeout: 60_000 }).toBeGreaterThan(1);
    isDead = true;
    const one = camera.takePicture();
    const two = camera.takePicture();
    const seen = () => first.lines.flatMap(({ type, item }) => (type === 'picture' ? [item?.mediaNum] : []));
    await expect.poll(seen, { timeout: 60_000 }).toEqual([one.mediaNum, two.mediaNum]);
    await kill(first.child);
    const three = camera.takePicture();
    expect(told).toEqual([]);
    isDead = false;
    const second = await start();
    const pictures = () => [...new Map(told.map(({ id, mediaNum }) => [id, mediaNum])).values()];
    await expect.poll(pictures, { timeout: 60_000 }).toEqual([one.mediaNum, two.mediaNum, three.mediaNum]);
    expect(told.every(({ jpeg }) => (jpeg?.length ?? 0) > 1_000)).toBe(true);
    await kill(second.child);
    // The second one may have been killed before it had noted the last answer: then that event is told again, under its id.
    const last = told.at(-1)!.id;
    told = [];
    // Nothing else is left: a third process tells nothing of the others.
    const third = await start();
    const four = camera.takePicture();
    const unnoted = () => told.filter(({ id }) => id !== last).map(({ mediaNum }) => mediaNum);
    await expect.poll(unnoted, { timeout: 60_000 }).toEqual([four.mediaNum]);
    await kill(third.child);
  });
});
