import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CameraClient, RaceConnector } from '@towpath/camera';
import { CameraEmulator } from '@towpath/camera/emulator';
import { SystemClock, SystemRandom } from '@towpath/core';
import { NodeNetwork } from '@towpath/net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const missing = spawnSync('ffprobe', ['-version']).error !== undefined;
if (missing) console.warn('live-video: ffmpeg and ffprobe are not installed (Debian: apt-get install ffmpeg)');

const SECONDS = 3;
const ADDRESS = '127.0.0.1';

/** Runs ffprobe on one file and returns the first stream with the number of frames that could be decoded. */
function probe(file: string): Record<string, unknown> {
  const args = ['-v', 'error', '-count_frames', '-show_streams', '-of', 'json', file];
  return JSON.parse(execFileSync('ffprobe', args, { encoding: 'utf8' })).streams[0];
}

/** Decodes a whole file; returns ffmpeg's complaints. */
function complaints(file: string, level: 'warning' | 'error'): string {
  const args = ['-v', level, '-err_detect', 'explode', '-xerror', '-i', file, '-f', 'null', '-'];
  const { stderr, status } = spawnSync('ffmpeg', args, { encoding: 'utf8' });
  return status === 0 ? stderr : `${stderr} (exit ${status})`;
}

describe.skipIf(missing && !process.env.CI)(
  'live video of an emulated camera over real sockets, read by ffmpeg (B11, B13)',
  () => {
    let folder: string;
    const video: Uint8Array[] = [];
    const audio: Uint8Array[] = [];

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'towpath-live-'));
      const components = { network: new NodeNetwork(), clock: new SystemClock(), random: new SystemRandom() };
      await using camera = new CameraEmulator(components, { address: ADDRESS, listenPort: 0, searchPort: false });
      await camera.start();
      const destinationPorts = [camera.listen.port];
      await using client = new CameraClient({
        ...components,
        connector: new RaceConnector(components, { target: ADDRESS, ports: destinationPorts, localAddress: ADDRESS }),
      });
      await client.connectWithRetries();
      const until = components.clock.now() + SECONDS * 1000;
      for await (const frame of client.live()) {
        if (frame.video.length > 0) video.push(frame.video);
        else audio.push(frame.audio);
        if (components.clock.now() > until) break;
      }
      await writeFile(join(folder, 'live.h264'), Buffer.concat(video));
      await writeFile(join(folder, 'live.aac'), Buffer.concat(audio));
    });

    afterAll(() => rm(folder, { recursive: true, force: true }));

    test('decodes without a complaint at the stated size, every picture of it', () => {
      const file = join(folder, 'live.h264');
      expect(complaints(file, 'warning')).toBe('');
      expect(probe(file)).toMatchObject({
        codec_name: 'h264',
        profile: 'Constrained Baseline',
        width: 1280,
        height: 720,
        r_frame_rate: '15/1',
        nb_read_frames: String(video.length),
      });
      expect(video.length).toBeGreaterThan(SECONDS * 15 - 8);
    });

    test('has silent AAC sound that decodes, every frame of it', () => {
      const file = join(folder, 'live.aac');
      // Raw ADTS states no duration, which ffmpeg remarks upon; that is not the stream's fault.
      expect(complaints(file, 'error')).toBe('');
      const stream = probe(file);
      expect(stream).toMatchObject({ codec_name: 'aac', sample_rate: '16000', channels: 1 });
      expect(stream.nb_read_frames).toBe(String(audio.length));
    });
  },
);
