import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LiveMp4, type LiveMp4Summary } from '@towpath/camera/outputs';
import { afterAll, describe, expect, test } from 'vitest';
import { Hotspot } from '../../packages/camera/test/emulator-fixture.ts';

const missing = spawnSync('ffprobe', ['-version']).error !== undefined;
if (missing) console.warn('live-mp4: ffmpeg and ffprobe are not installed (Debian: apt-get install ffmpeg)');

const MINUTE_MS = 60_000;

interface Recording {
  file: string;
  summary: LiveMp4Summary;
}

/** Records a minute of an emulated camera on a virtual clock. `during` is called after 20 s. */
async function record(folder: string, loss: number, during?: (hotspot: Hotspot) => void): Promise<Recording> {
  const hotspot = new Hotspot();
  const { clock } = hotspot;
  const camera = await hotspot.camera({ faults: { toCamera: { lossRatio: loss }, fromCamera: { lossRatio: loss } } });
  const client = await hotspot.connected();
  const parts: Uint8Array[] = [];
  const mp4 = new LiveMp4({ write: async (bytes) => void parts.push(bytes.slice()) });
  const abort = new AbortController();
  const recording = (async () => {
    for await (const frame of client.live({ signal: abort.signal })) await mp4.add(frame, clock.now());
  })().catch((error: Error) => error.message);
  await clock.advance(MINUTE_MS / 3);
  during?.(hotspot);
  if (during) {
    camera.faults.silent = true;
    await clock.advance(12_000);
    camera.faults.silent = false;
    await clock.advance((MINUTE_MS * 2) / 3 - 12_000);
  } else await clock.advance((MINUTE_MS * 2) / 3);
  abort.abort(new Error('enough'));
  expect(await clock.runUntil(recording)).toBe('enough');
  const summary = await mp4.close();
  expect(await hotspot.end()).toEqual({ sockets: 0, timers: 0 });
  const file = join(folder, `${loss}-${during ? 'cut' : 'whole'}.mp4`);
  writeFileSync(file, Buffer.concat(parts));
  return { file, summary };
}

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
