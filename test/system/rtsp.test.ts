import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { CameraClient, RaceConnector } from '@towpath/camera';
import { CameraEmulator } from '@towpath/camera/emulator';
import { RtspServer } from '@towpath/camera/outputs';
import { createLog, SystemClock, SystemRandom } from '@towpath/core';
import { NodeNetwork } from '@towpath/net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const noFfmpeg = spawnSync('ffmpeg', ['-version']).error !== undefined;
if (noFfmpeg) console.warn('rtsp: ffmpeg is not installed (Debian: apt-get install ffmpeg)');
const noGstreamer = spawnSync('gst-launch-1.0', ['--version']).error !== undefined;
if (noGstreamer)
  console.warn('rtsp: GStreamer is missing (Debian: gstreamer1.0-tools, -plugins-good, -plugins-bad, -libav)');

const HOST = '127.0.0.1';
const user = { name: 'towpath', password: 'p4ss:word' };
const components = { network: new NodeNetwork(), clock: new SystemClock(), random: new SystemRandom() };

interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

function start(program: string, args: readonly string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const out = { stdout: '', stderr: '' };
  child.stdout.on('data', (part) => {
    out.stdout += part;
  });
  child.stderr.on('data', (part) => {
    out.stderr += part;
  });
  const ended = once(child, 'exit').then(([status]) => ({ status: status as number | null, ...out }));
  return { child, ended };
}

describe.skipIf(noFfmpeg && !process.env.CI)('live video by RTSP, read by foreign players (B13)', () => {
  let camera: CameraEmulator;
  let client: CameraClient;
  let server: RtspServer;
  /** What the server has to say when a player complains. */
  const said: string[] = [];
  const url = (password = 'p4ss%3Aword') => `rtsp://towpath:${password}@${HOST}:${server.local.port}/live`;

  beforeAll(async () => {
    camera = new CameraEmulator(components, { address: HOST, listenPort: 0, searchPort: false });
    await camera.start();
    const destinationPorts = [camera.listen.port];
    const connector = new RaceConnector(components, { target: HOST, ports: destinationPorts, localAddress: HOST });
    client = new CameraClient({ ...components, connector });
    await client.connectWithRetries();
    server = await RtspServer.listen(
      { ...components, source: client, log: createLog(({ message }) => said.push(message)) },
      { port: 0, user },
    );
  });

  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
    await client?.close();
    await camera?.close();
  });

  /** Decodes some seconds; every complaint counts. */
  const decode = (transport: string, seconds: number) =>
    start('ffmpeg', [
      ...['-v', 'warning', '-err_detect', 'explode', '-xerror', '-rtsp_transport', transport],
      ...[
        '-i',
        url(),
        '-t',
        String(seconds),
        '-fps_mode',
        'passthrough',
        '-enc_time_base',
        '-1',
        '-progress',
        '-',
        '-f',
        'null',
        '-',
      ],
    ]);

  const frames = ({ stdout }: Ended) => Number([...stdout.matchAll(/^frame=(\d+)$/gm)].at(-1)?.[1] ?? 0);

  test.each(['tcp', 'udp'])('ffprobe reads pictures and sound over %s', async (transport) => {
    const args = ['-v', 'error', '-rtsp_transport', transport, '-show_streams', '-of', 'json', url()];
    const { stdout, status } = await start('ffprobe', args).ended;
    expect(status).toBe(0);
    expect(JSON.parse(stdout).streams).toMatchObject([
      { codec_name: 'h264', width: 1280, height: 720 },
      { codec_name: 'aac', sample_rate: '16000', channels: 1 },
    ]);
  });

  test('two players at once, over TCP and UDP, decode without a complaint; one that is stopped does not disturb the other', async () => {
    const long = decode('udp', 5);
    const short = decode('tcp', 60);
    await expect.poll(() => server.playing, { timeout: 60_000 }).toBe(2);
    await components.clock.sleep(1_500);
    short.child.kill('SIGTERM');
    await short.ended;
    const ended = await long.ended;
    expect({ status: ended.status, said: ended.stderr }).toEqual({ status: 0, said: '' });
    // 15 pictures per second, from the next key frame on, which come every two seconds.
    expect(frames(ended)).toBeGreaterThan(40);
    await expect.poll(() => server.playing, { timeout: 60_000 }).toBe(0);
  });

  test('TCP decodes without a complaint, too', async () => {
    const ended = await decode('tcp', 3).ended;
    expect({ status: ended.status, said: ended.stderr }).toEqual({ status: 0, said: '' });
    expect(frames(ended)).toBeGreaterThan(10);
  });

  test.skipIf(noGstreamer && !process.env.CI).each(['tcp', 'udp'])(
    'GStreamer decodes 20 pictures over %s',
    async (protocol) => {
      const source = [
        'rtspsrc',
        `location=rtsp://${HOST}:${server.local.port}/live`,
        `protocols=${protocol}`,
        'latency=100',
      ];
      const login = [`user-id=${user.name}`, `user-pw=${user.password}`];
      const sink = ['!', 'rtph264depay', '!', 'avdec_h264', '!', 'fakesink', 'num-buffers=20', 'sync=false'];
      const { status, stdout, stderr } = await start('timeout', ['60', 'gst-launch-1.0', ...source, ...login, ...sink])
        .ended;
      expect(`${stdout}${stderr}`, said.join('\n')).not.toMatch(/ERROR/);
      expect(status).toBe(0);
    },
  );

  test('a wrong password is refused', async () => {
    const { status, stderr } = await start('ffprobe', ['-v', 'error', url('wrong')]).ended;
    expect(status).not.toBe(0);
    expect(stderr).toContain('401');
  });

  test("the camera's stream runs only while somebody watches", async () => {
    await expect.poll(() => server.playing, { timeout: 60_000 }).toBe(0);
    const before = camera.counters.commands;
    const { status } = await decode('tcp', 1).ended;
    expect(status).toBe(0);
    await expect.poll(() => camera.counters.commands - before, { timeout: 60_000 }).toBe(2);
  });
});
