import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { record } from './support/live-recording.ts';

const missing = spawnSync('ffprobe', ['-version']).error !== undefined;
if (missing) console.warn('live-mp4: ffmpeg and ffprobe are not installed (Debian: apt-get install ffmpeg)');

interface Probe {
  streams: { codec_name: string; nb_read_frames: string; width?: number; sample_rate?: string; channels?: number }[];
  format: { duration: string; format_name: string };
}

function probe(file: string): Probe {
  const args = ['-v', 'error', '-count_frames', '-show_streams', '-show_format', '-of', 'json', file];
  return JSON.parse(execFileSync('ffprobe', args, { encoding: 'utf8' }));
}

/** What ffmpeg has to complain about when it decodes the whole file. */
function complaints(file: string): string {
  const args = ['-v', 'warning', '-err_detect', 'explode', '-xerror', '-i', file, '-f', 'null', '-'];
  const { stderr, status } = spawnSync('ffmpeg', args, { encoding: 'utf8' });
  return status === 0 ? stderr : `${stderr} (exit ${status})`;
}

describe.skipIf(missing && !process.env.CI)('a minute of live video as MP4, read by ffmpeg (B13)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'towpath-mp4-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test.each([0, 0.05])('at a loss of %s it plays: duration, every frame, no decoding error', async (loss) => {
    const { file, summary } = await record(folder, loss);
    const { streams, format } = probe(file);
    const [video, audio] = streams;
    expect(format.format_name).toContain('mp4');
    expect(video).toMatchObject({ codec_name: 'h264', width: 1280 });
    expect(audio).toMatchObject({ codec_name: 'aac', sample_rate: '16000', channels: 1 });
    expect(Number(video?.nb_read_frames)).toBe(summary.frames);
    // 15 pictures and 15.6 frames of sound per second; the channels are reliable, so loss only delays.
    expect(summary.frames).toBeGreaterThan(loss === 0 ? 890 : 850);
    expect(summary.soundFrames).toBeGreaterThan(loss === 0 ? 925 : 880);
    expect(Math.abs(Number(format.duration) - 60)).toBeLessThan(loss === 0 ? 0.5 : 2);
    expect(complaints(file)).toBe('');
  });

  test('it goes on after the connection was lost, in the same time', async () => {
    const { file, summary } = await record(folder, 0, () => {});
    const { streams, format } = probe(file);
    expect(Number(streams[0]?.nb_read_frames)).toBe(summary.frames);
    expect(summary.frames).toBeGreaterThan(500);
    expect(summary.frames).toBeLessThan(780);
    expect(Math.abs(Number(format.duration) - 60)).toBeLessThan(1);
    expect(complaints(file)).toBe('');
  });
});
