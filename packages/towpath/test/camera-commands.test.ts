import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CAMERA, type Desk, desk, freePort } from './support.ts';

describe('camera commands', () => {
  let at: Desk;

  beforeEach(async () => {
    at = await desk();
  });

  afterEach(() => at.close());

  test('find shows each camera once (B1)', async () => {
    const { code, out } = await at.towpath('camera', 'find', ...search(at), '--json');
    expect(code).toBe(0);
    expect(out.map((line) => JSON.parse(line))).toMatchObject([{ ...at.camera.listen, keyed: false }]);
  });

  test('find says what to do when nobody answers', async () => {
    const nowhere = ['--host', CAMERA, '--search-port', String(await freePort()), '--timeout', '0.2'];
    const { code, out, err } = await at.towpath('camera', 'find', ...nowhere);
    expect([code, out]).toEqual([0, []]);
    expect(err.at(-1)).toContain('Next:');
  });

  test('connect draws the race, one line per attempt, and says who won and why (A5)', async () => {
    const { code, out, err } = await at.toCamera('connect');
    expect(code).toBe(0);
    const picture = err.filter((line) => /^ {2}[✓–✗…·]/.test(line));
    expect(picture.length).toBe(3);
    expect(picture.filter((line) => line.includes('won: first to answer')).length).toBe(1);
    expect(out[0]).toMatch(/by (p2p|lan)ConnectThread from port \d+: path in \d+ ms/);
  });

  test('connect --json carries the race and the device (A5)', async () => {
    const { out } = await at.toCamera('connect', '--json');
    const { race, device } = JSON.parse(out[0] ?? '');
    expect(race).toMatchObject({ success: true, destinationPort: at.camera.listen.port });
    expect(Object.keys(race.threadsInfo)).toEqual(['p2pConnectThread', 'lanConnectThread', 'relayConnectThread']);
    expect(device.devId).toBe(at.camera.deviceId);
  });

  test('connect --only lan races only that way (A3)', async () => {
    const { out } = await at.toCamera('connect', '--only', 'lan', '--json');
    expect(JSON.parse(out[0] ?? '').race.threadsInfo.p2pConnectThread.state).toBe('not_started');
  });

  test('another run leaves from the same local port (B6)', async () => {
    const port = async () => JSON.parse((await at.toCamera('connect', '--json')).out[0] ?? '').race.port;
    expect(await port()).toBe(await port());
    const [file] = readdirSync(join(at.folder, 'config', 'devices'));
    expect(statSync(join(at.folder, 'config', 'devices', file ?? '')).mode & 0o777).toBe(0o600);
  });

  test('stats show what races have taught, to people, programs and Prometheus (A9, A10)', async () => {
    expect((await at.towpath('camera', 'stats', CAMERA)).err.join()).toContain('Nothing is known');
    await at.toCamera('connect');
    await at.toCamera('connect', '--weights', 'lan=1,p2p=0.1');
    const { out } = await at.towpath('camera', 'stats', CAMERA, '--json');
    const { statistics, path } = JSON.parse(out[0] ?? '');
    const wins = Object.values(statistics as Record<string, { wins: number }>).reduce((sum, way) => sum + way.wins, 0);
    expect([wins, path.destinationPort]).toEqual([2, at.camera.listen.port]);
    const page = (await at.towpath('camera', 'stats', CAMERA, '--prometheus')).out.join('\n');
    expect(page).toMatch(/^towpath_race_wins_total\{target="127.0.0.1",way="(lan|p2p)"\} [12]$/m);
    expect(page).toContain('le="+Inf"');
    expect((await at.towpath('camera', 'stats', CAMERA)).out.join('\n')).toMatch(/last reached by (lan|p2p) on port/);
  });

  test('info speaks to people and to programs (B3)', async () => {
    expect((await at.toCamera('info')).out.join('\n')).toMatch(/model +KJK230/);
    expect(JSON.parse((await at.toCamera('info', '--json')).out[0] ?? '')).toMatchObject({
      modelName: 'KJK230',
    });
  });

  test('media lists all pages (B13)', async () => {
    const { out } = await at.toCamera('media', '--json');
    expect(out.length).toBe(83);
    expect(JSON.parse(out[0] ?? '')).toMatchObject({ name: '100/83', fileType: 0 });
  });

  test('download saves complete files once, and the next run only what is missing (B13)', async () => {
    const folder = join(at.folder, 'pictures');
    const first = await at.toCamera('download', '-o', folder, '--limit', '3');
    expect(first.code).toBe(0);
    expect(first.out.length).toBe(3);
    for (const path of first.out) expect([...readFileSync(path).subarray(-2)]).toEqual([0xff, 0xd9]);
    const second = await at.toCamera('download', '-o', folder, '--limit', '5', '--json');
    expect(JSON.parse(second.out.at(-1) ?? '')).toMatchObject({ saved: 2, present: 3, failed: [] });
    const named = await at.toCamera('download', '-o', folder, '--items', '100/1', '--json');
    expect(JSON.parse(named.out.at(-1) ?? '')).toMatchObject({ saved: 1 });
  });

  test('thumbnails go to a folder of their own (B13)', async () => {
    const { code, out } = await at.toCamera('thumbnails', '-o', at.folder);
    expect([code, out.length]).toEqual([0, 83]);
    expect(out).toContain(join(at.folder, 'thumbnails', '100_0083.jpg'));
  });

  test('live writes H.264 to standard output for as long as asked (B13)', async () => {
    const { code, out, err } = await at.toCamera('live', '--for', '1.5');
    expect(code).toBe(0);
    expect(out.length).toBeGreaterThan(8);
    expect(err.at(-1)).toMatch(/\d+ frames, [1-9]\d* key frames/);
  });

  test('watch reports a new picture and ends when the time is up (B13)', async () => {
    let requests = 0;
    at.camera.events.on('command', ({ name }) => {
      // The first look asks for two pages; the third request begins the second look.
      if (name === 'mediaList' && ++requests === 3) at.camera.takePicture();
    });
    const { code, out } = await at.toCamera('watch', '--every', '1', '--for', '2.5', '--json');
    expect(code).toBe(0);
    const events = out.map((line) => JSON.parse(line));
    expect(events.filter(({ type }) => type === 'picture')).toMatchObject([{ item: { mediaNum: 84 } }]);
    expect(events.some(({ type, state }) => type === 'state' && state === 'CONNECTED')).toBe(true);
  });

  test('command sends any command by number or by name (B3)', async () => {
    const port = String(at.camera.listen.port);
    for (const id of ['512', 'deviceInfo']) {
      const { out } = await at.towpath('camera', 'command', id, '{}', CAMERA, '--ports', port, '--json');
      expect(JSON.parse(out[0] ?? '')).toMatchObject({ result: 0, cmdId: 512 });
    }
  });

  test('delete needs a yes, deletes what is named, and refuses what is not there (B3)', async () => {
    expect((await at.toCamera('delete', '--items', '100/83')).code).toBe(2);
    const { code, out } = await at.toCamera('delete', '--items', '100/83', '--yes');
    expect([code, out]).toEqual([0, ['deleted 100/83']]);
    expect(at.camera.items.length).toBe(82);
    expect((await at.toCamera('delete', '--items', '100/83', '--yes')).code).toBe(2);
  });

  test('format needs a yes (B3)', async () => {
    expect((await at.toCamera('format')).code).toBe(2);
    expect((await at.toCamera('format', '--yes')).code).toBe(0);
    expect(at.camera.items.length).toBe(0);
  });

  test.each([
    [['camera', 'command', 'nonsense'], 2, 'Known names'],
    [['camera', 'command', '512', 'not json'], 2, 'not JSON'],
    [['camera', 'connect', CAMERA, '--ports', '0'], 2, 'whole number from 1 to 65535'],
    [['camera', 'connect', 'camera.local'], 2, 'not an IP address'],
    [['camera', 'media', '--since', 'yesterday'], 2, '2026-05-01'],
    [['camera', 'emulate', '--fault', 'gremlins'], 2, 'not a fault'],
    [['camera', 'decode', '/does/not/exist'], 5, 'cannot be read'],
    [['nonsense'], 2, 'unknown command'],
  ])('says in one line what is wrong with %j, with exit code %i', async (args, code, text) => {
    const outcome = await at.towpath(...args);
    expect(outcome.code).toBe(code);
    expect(outcome.err.join('\n')).toContain(text);
    expect(outcome.out).toEqual([]);
  });

  test('decode goes on with the next file when one holds nothing, and says so in the end (B12)', async () => {
    const [empty, log] = [join(at.folder, 'empty.log'), join(at.folder, 'client.log')];
    writeFileSync(empty, '');
    writeFileSync(log, "📥 RUDP DATA from=('192.168.43.1', 40611) | hex=f1d00007d100000041434b\n");
    const { code, out, err } = await at.towpath('camera', 'decode', empty, log, '--json');
    expect(out.map((line) => JSON.parse(line))).toMatchObject([{ summary: {} }, { text: 'ACK' }, { summary: {} }]);
    expect(code).toBe(1);
    expect(err.at(-1)).toContain('empty.log');
  });

  test('connect says of each attempt that nobody answered, when nobody did (A5)', async () => {
    const port = String(await freePort());
    const args = ['camera', 'connect', CAMERA, '--ports', port, '--only', 'p2p', '--timeout', '5.5'];
    const { code, err } = await at.towpath(...args);
    expect(code).toBe(3);
    expect(err.filter((line) => line.includes('no answer in time'))).toHaveLength(1);
    expect(err.join('\n')).not.toContain('won');
  });

  test('a camera that is not there ends with exit code 3, the reason, and with --json an object (B7)', async () => {
    const port = String(await freePort());
    const args = ['camera', 'info', CAMERA, '--ports', port, '--search-port', port, '--timeout', '0.5', '--json'];
    const { code, out, err } = await at.towpath(...args);
    expect(code).toBe(3);
    expect(err.length).toBe(1);
    expect(err[0]).toContain(CAMERA);
    expect(JSON.parse(out.at(-1) ?? '')).toMatchObject({ error: { code: 'connect-failed' } });
  });
});

function search(at: Desk): string[] {
  return ['--host', CAMERA, '--search-port', String(at.searchPort), '--timeout', '0.3'];
}
