import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { freePort } from '../../packages/net/test/free-port.ts';
import { PYTHON } from './support/python.ts';

const CASES = join(import.meta.dirname, '../../../shared/cases');
const PROGRAM = join(CASES, 'fakecam.mjs');
const TOWPATH = join(import.meta.dirname, '../../packages/towpath/bin/towpath.js');
const LIMIT_MS = 300_000;
const noFfmpeg = spawnSync('ffmpeg', ['-version']).error !== undefined;

/** What ffmpeg says, without its remark on the shortened parameter set of the stream, which is the stream's own. */
function complaints(stderr: string): string[] {
  return stderr.split('\n').filter((line) => line !== '' && !/Overread VUI|Last message repeated/.test(line));
}

interface Result {
  readonly code: number | null;
  readonly text: string;
  readonly files: string[];
}

describe.skipIf(!existsSync(PROGRAM))(
  'lists and files of fake cameras (skipped where ../shared/cases is absent)',
  { timeout: LIMIT_MS },
  () => {
    const started: ChildProcess[] = [];
    let folder = '';

    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), 'towpath-fakecam-media-'));
    });

    afterEach(() => {
      for (const child of started.splice(0)) child.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    });

    async function camera(scenario: string, ports?: readonly string[], env: Record<string, string> = {}) {
      const [port = '', searchPort = ''] = ports ?? [String(await freePort()), String(await freePort())];
      const child = spawn(process.execPath, [PROGRAM, scenario, port, searchPort], {
        stdio: ['ignore', 'ignore', 'pipe'],
        env: { ...process.env, ...env },
      });
      started.push(child);
      let said = '';
      child.stderr.on('data', (piece) => {
        said += String(piece);
      });
      await expect.poll(() => said, { timeout: 60_000 }).toContain('scenario');
      return { child, ports: [port, searchPort] };
    }

    function towpath(command: string, ports: readonly string[], ...more: string[]) {
      const [port = '', searchPort = ''] = ports;
      const args = [TOWPATH, 'camera', command, '127.0.0.1', '--ports', port, '--search-port', searchPort, ...more];
      const child = spawn(process.execPath, args, {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, XDG_CONFIG_HOME: join(folder, 'config') },
      });
      started.push(child);
      let text = '';
      for (const stream of [child.stdout, child.stderr]) {
        stream.on('data', (piece) => {
          text += String(piece);
        });
      }
      const ended = new Promise<Result>((resolve) => {
        child.once('close', (code) => {
          const output = join(folder, 'pictures');
          const files = existsSync(output) ? readdirSync(output).filter((name) => !name.startsWith('.')) : [];
          resolve({ code, text, files });
        });
      });
      return { child, ended, text: () => text };
    }

    async function download(scenario: string, env: Record<string, string> = {}, ...more: string[]): Promise<Result> {
      const { ports } = await camera(scenario, undefined, env);
      return await towpath('download', ports, '-o', join(folder, 'pictures'), ...more).ended;
    }

    const pictures = ({ files }: Result) => files.filter((name) => name.endsWith('.jpg'));

    test('strings: numbers that come as text are listed; what the camera then does not send is said (D5)', async () => {
      const { ports } = await camera('strings');
      const list = await towpath('media', ports).ended;
      expect([list.code, list.text.match(/100\/\d/g)?.length]).toEqual([0, 3]);
      // This camera compares numbers with its texts, and so finds none of what it lists.
      const result = await towpath('download', ports, '-o', join(folder, 'pictures')).ended;
      expect([result.code === 0, pictures(result)]).toEqual([false, []]);
      expect(new Set(result.text.match(/100\/\d was not downloaded/g)).size).toBe(3);
    });

    test('bigfile: a photo of 5.9 MB is saved (D5)', async () => {
      const result = await download('bigfile');
      expect([result.code, pictures(result).length]).toEqual([0, 3]);
      const sizes = pictures(result).map((name) => readFileSync(join(folder, 'pictures', name)).length);
      expect(Math.max(...sizes)).toBe(5_900_000);
    });

    test('zerofile: an item without data is said once, and not asked for at the next run (D5)', async () => {
      const { ports } = await camera('zerofile');
      const output = join(folder, 'pictures');
      const first = await towpath('download', ports, '-o', output).ended;
      expect([first.code === 0, pictures(first).length]).toEqual([false, 3]);
      expect(first.text.match(/100\/3 was not downloaded/g)).toHaveLength(1);
      const second = await towpath('download', ports, '-o', output).ended;
      expect(second.code).toBe(0);
      expect(second.text).not.toContain('100/3');
    });

    test('nosd_null: a camera without a card has no pictures, which is no error (D5)', async () => {
      const result = await download('nosd_null');
      expect([result.code, pictures(result).length]).toEqual([0, 0]);
    });

    test('deleting: items that vanish between two pages hide none of the others (D5)', async () => {
      const result = await download('deleting');
      const numbers = new Set(pictures(result).map((name) => Number(/_(\d+)\.jpg$/.exec(name)?.[1])));
      for (let mediaNum = 1; mediaNum <= 95; mediaNum++) expect(numbers, String(mediaNum)).toContain(mediaNum);
    });

    test('camA, camB: another camera with the same UID and address never fills the folder of the first (D5)', async () => {
      const a = await camera('camA');
      const output = join(folder, 'pictures');
      const run = towpath('download', a.ports, '-o', output, '--timeout', '60');
      await expect.poll(() => run.text().split('.jpg').length, { timeout: 120_000 }).toBeGreaterThan(3);
      a.child.kill('SIGKILL');
      await camera('camB', a.ports);
      const result = await run.ended;
      expect(result.code).not.toBe(0);
      expect(result.text).toContain('BB:BB:BB:BB:BB:BB');
      for (const name of pictures(result)) {
        const mediaNum = Number(/_(\d+)\.jpg$/.exec(name)?.[1]);
        const data = readFileSync(join(output, name));
        expect(data[1000], name).toBe((1000 * 31 + mediaNum * 17 + (1000 >> 8)) & 0xff);
      }
    });

    describe.skipIf(noFfmpeg && !process.env.CI)('videos, read by ffprobe', () => {
      /** Ten seconds of 30 pictures a second without timing in the stream, and sound of 16 kHz. */
      function streams(): Record<string, string> {
        const [h264, aac, bare] = ['v.h264', 'a.aac', 'bare.h264'].map((name) => join(folder, name)) as [
          string,
          string,
          string,
        ];
        const run = (...args: string[]) => execFileSync('ffmpeg', ['-v', 'error', '-y', '-f', 'lavfi', ...args]);
        run(
          '-i',
          'testsrc=size=320x240:rate=30:duration=10.2',
          '-c:v',
          'libx264',
          '-bf',
          '0',
          '-g',
          '30',
          '-f',
          'h264',
          h264,
        );
        run('-i', 'sine=frequency=440:sample_rate=16000:duration=10.2', '-c:a', 'aac', '-ac', '1', '-f', 'adts', aac);
        execFileSync(PYTHON, [join(CASES, 'strip-vui.py'), h264, bare]);
        return { H264: bare, AAC: aac };
      }

      test.each([
        ['video30', 'time stamps in the frames decide its pace'],
        ['badsession', 'the camera numbers its playbacks itself'],
        ['sentinel', 'marker frames begin and end it'],
      ])('%s: %s (B13)', async (scenario) => {
        const result = await download(scenario, streams());
        expect([result.code, result.text]).toEqual([0, expect.stringContaining('3 saved')]);
        const name = result.files.find((file) => file.endsWith('.mp4'));
        const path = join(folder, 'pictures', name ?? 'no MP4 file');
        const show = ['-v', 'error', '-count_packets', '-show_streams', '-of', 'json', path];
        const found = JSON.parse(execFileSync('ffprobe', show, { encoding: 'utf8' })).streams;
        const video = found.find(({ codec_type }: { codec_type: string }) => codec_type === 'video');
        const audio = found.find(({ codec_type }: { codec_type: string }) => codec_type === 'audio');
        expect(video).toMatchObject({ codec_name: 'h264', width: 320, height: 240, nb_read_packets: '306' });
        expect(Number(video.duration)).toBeCloseTo(10.2, 1);
        expect(audio.codec_name).toBe('aac');
        expect(Math.abs(Number(audio.duration) - Number(video.duration))).toBeLessThan(0.3);
        const decode = spawnSync('ffmpeg', ['-v', 'error', '-xerror', '-i', path, '-f', 'null', '-'], {
          encoding: 'utf8',
        });
        expect([decode.status, complaints(decode.stderr)]).toEqual([0, []]);
        const copy = spawnSync('ffmpeg', ['-v', 'error', '-i', path, '-c', 'copy', join(folder, 'copy.mp4')], {
          encoding: 'utf8',
        });
        expect([copy.status, complaints(copy.stderr)]).toEqual([0, []]);
      });
    });
  },
);
