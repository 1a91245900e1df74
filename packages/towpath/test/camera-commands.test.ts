import { CameraState } from '@towpath/camera';
import { NodeNetwork } from '@towpath/net';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { stateText } from '../src/commands/camera/connect-line.ts';
import { freePort } from '../../net/test/free-port.ts';
import { CAMERA, type CommandLine, commandLine } from './support.ts';

describe('camera commands', () => {
  let at: CommandLine;

  beforeEach(async () => {
    at = await commandLine();
  });

  afterEach(() => at.close());

  test('find shows each camera once (B1)', async () => {
    const { code, out } = await at.towpath('camera', 'find', ...search(at), '--json');
    expect(code).toBe(0);
    expect(out.map((line) => JSON.parse(line))).toMatchObject([
      { type: 'camera-found', version: 1, ...at.camera.listen, keyed: false },
      { type: 'search', version: 1, found: 1 },
    ]);
    const { err } = await at.towpath('camera', 'find', ...search(at));
    expect(err.at(-1)).toContain(`towpath camera connect ${CAMERA} --search-port ${at.searchPort}`);
  });

  test('find names the next step when no camera answers, and that is exit code 3', async () => {
    const nowhere = ['--host', CAMERA, '--search-port', String(await freePort()), '--timeout', '0.2'];
    const { code, out, err } = await at.towpath('camera', 'find', ...nowhere);
    expect([code, out]).toEqual([3, []]);
    expect(err.at(-1)).toContain('Next:');
    const json = await at.towpath('camera', 'find', ...nowhere, '--json');
    expect([json.code, json.out.map((line) => JSON.parse(line))]).toEqual([
      3,
      [{ type: 'search', version: 1, found: 0 }],
    ]);
  });

  test('connect prints one line per attempt with its result (A5)', async () => {
    const { code, out, err } = await at.toCamera('connect');
    expect(code).toBe(0);
    const picture = err.filter((line) => /^ {2}[✓–✗…·]/.test(line));
    expect(picture.length).toBe(3);
    expect(picture.filter((line) => line.includes('success: first answer')).length).toBe(1);
    expect(out[0]).toMatch(
      /connected (directly|on the local network), 127\.0\.0\.1:\d+, from local port \d+: path in \d+ ms/,
    );
  });

  test('connect --json contains the race and the device information (A5)', async () => {
    const { out } = await at.toCamera('connect', '--json');
    const { race, device } = JSON.parse(out[0] ?? '');
    expect(race).toMatchObject({ success: true, destinationPort: at.camera.listen.port });
    expect(Object.keys(race.threadsInfo)).toEqual(['p2pConnectThread', 'lanConnectThread', 'relayConnectThread']);
    expect(device.devId).toBe(at.camera.deviceId);
  });

  test('connect --only lan tries no other kind of path (A3)', async () => {
    const { out } = await at.toCamera('connect', '--only', 'lan', '--json');
    expect(JSON.parse(out[0] ?? '').race.threadsInfo.p2pConnectThread.state).toBe('not_started');
  });

  test('another run uses the same local port (B6)', async () => {
    const port = async () => JSON.parse((await at.toCamera('connect', '--json')).out[0] ?? '').race.port;
    expect(await port()).toBe(await port());
    const [file] = readdirSync(join(at.folder, 'config', 'devices'));
    expect(statSync(join(at.folder, 'config', 'devices', file ?? '')).mode & 0o777).toBe(0o600);
  });

  test('stats are printed as text, JSON and Prometheus metrics (A9, A10)', async () => {
    expect((await at.towpath('camera', 'stats', CAMERA)).err.join()).toContain('There are no statistics');
    expect((await at.towpath('camera', 'stats')).err.join()).toContain('no camera was connected to from here');
    await at.toCamera('connect');
    await at.toCamera('connect', '--weights', 'lan=1,p2p=0.1');
    const { out } = await at.towpath('camera', 'stats', CAMERA, '--json');
    const { statistics, path } = JSON.parse(out[0] ?? '');
    const wins = Object.values(statistics as Record<string, { wins: number }>).reduce((sum, way) => sum + way.wins, 0);
    expect([wins, path.destinationPort]).toEqual([2, at.camera.listen.port]);
    const page = (await at.towpath('camera', 'stats', CAMERA, '--prometheus')).out.join('\n');
    expect(page).toMatch(/^towpath_race_wins_total\{target="127.0.0.1",kind="(lan|p2p)"\} [12]$/m);
    expect(page).toContain('# TYPE towpath_race_attempts_total counter');
    expect(page).toContain('# TYPE towpath_race_connect_seconds histogram');
    expect(page).toContain('le="+Inf"');
    expect((await at.towpath('camera', 'stats', CAMERA)).out.join('\n')).toMatch(
      /last connected: (local network|direct), port \d+/,
    );
    const table = (await at.towpath('camera', 'stats', CAMERA)).out;
    expect(table[0]).toMatch(/^path +attempts +connected +share +not needed +failed/);
    expect(table.some((line) => line.includes('[██████████]'))).toBe(true);
    const all = await at.towpath('camera', 'stats');
    expect([all.code, all.out]).toEqual([0, [CAMERA, ...table]]);
    const metrics = (await at.towpath('camera', 'stats', '--prometheus')).out.join('\n');
    expect(metrics).toBe(page);
  });

  test('info prints text or JSON (B3)', async () => {
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

  test('download saves complete files once, and the next run only missing ones (B13)', async () => {
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

  test('thumbnails are saved in a separate folder (B13)', async () => {
    const { code, out } = await at.toCamera('thumbnails', '-o', at.folder);
    expect([code, out.length]).toEqual([0, 83]);
    expect(out).toContainEqual(expect.stringMatching(/thumbnails\/\d{8}T\d{6}[+-]\d{4}_100_0083\.jpg$/));
  });

  test('live writes H.264 to standard output for the given time (B13)', async () => {
    const { code, out, err } = await at.toCamera('live', '--for', '1.5');
    expect(code).toBe(0);
    expect(out.length).toBeGreaterThan(0);
    expect(err.at(-1)).toMatch(/[1-9]\d* frames, [1-9]\d* key frames?/);
  });

  test('watch reports a new picture and ends at its time limit (B13)', async () => {
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
    expect(events).toContainEqual(expect.objectContaining({ type: 'waiting', everyMs: 1_000, output: null }));
    const { out: lines } = await at.toCamera('watch', '--for', '0.5');
    const words = lines.map((line) => line.split(/ +/).slice(1).join(' '));
    expect(words).toContain('state connected');
    expect(words).toContainEqual(expect.stringMatching(/^waiting for new pictures, looking every 10\.0 s;/));
    expect(words).toContain('event 4 (its meaning is not known)');
  });

  test('command sends any command by number or by name (B3)', async () => {
    const port = String(at.camera.listen.port);
    for (const id of ['512', 'deviceInfo']) {
      const { out } = await at.towpath('camera', 'command', id, '{}', CAMERA, '--ports', port, '--json');
      expect(JSON.parse(out[0] ?? '')).toMatchObject({ answer: { result: 0, cmdId: 512 } });
    }
  });

  test('delete needs --yes, deletes the given items, and refuses items that do not exist (B3)', async () => {
    expect((await at.toCamera('delete', '--items', '100/83')).code).toBe(2);
    const { code, out } = await at.toCamera('delete', '--items', '100/83', '--yes');
    expect([code, out]).toEqual([0, ['deleted 100/83']]);
    expect(at.camera.items.length).toBe(82);
    expect((await at.toCamera('delete', '--items', '100/83', '--yes')).code).toBe(2);
  });

  test('format needs --yes (B3)', async () => {
    expect((await at.toCamera('format')).code).toBe(2);
    expect((await at.toCamera('format', '--yes')).code).toBe(0);
    expect(at.camera.items.length).toBe(0);
  });

  test.each([
    [['camera', 'command', 'nonsense'], 2, 'Unknown command'],
    [['camera', 'command', '512', 'not json'], 2, 'not JSON'],
    [['camera', 'connect', CAMERA, '--ports', '0'], 2, 'whole number from 1 to 65535'],
    [['camera', 'connect', 'camera.local'], 2, 'not an IP address'],
    [['camera', 'media', '--since', 'yesterday'], 2, '2026-05-01'],
    [['camera', 'emulate', '--fault', 'gremlins'], 2, 'not a fault'],
    [['camera', 'decode', '/does/not/exist'], 5, 'cannot be read'],
    [['camera', 'decode', '/dev/zero'], 5, 'is larger than'],
    [['nonsense'], 2, 'unknown command'],
  ])('reports the error of %j in one line, with exit code %i', async (args, code, text) => {
    const outcome = await at.towpath(...args);
    expect(outcome.code).toBe(code);
    expect(outcome.err.join('\n')).toContain(text);
    expect(outcome.out).toEqual([]);
  });

  test('decode continues after a file without camera traffic and reports it at the end (B12)', async () => {
    const [empty, log] = [join(at.folder, 'empty.log'), join(at.folder, 'client.log')];
    writeFileSync(empty, '');
    writeFileSync(log, "📥 RUDP DATA from=('192.168.43.1', 40611) | hex=f1d00007d100000041434b\n");
    const { code, out, err } = await at.towpath('camera', 'decode', empty, log, '--json');
    expect(out.map((line) => JSON.parse(line))).toMatchObject([{ summary: {} }, { text: 'ACK' }, { summary: {} }]);
    expect(code).toBe(1);
    expect(err.at(-1)).toContain('empty.log');
  });

  test('connect reports for each attempt that there was no answer (A5)', async () => {
    // A socket that answers nothing: a closed port would be noticed.
    await using silent = await new NodeNetwork().bindUdp({ address: CAMERA, onMessage: () => {} });
    const port = String(silent.local.port);
    const args = ['camera', 'connect', CAMERA, '--ports', port, '--only', 'p2p', '--timeout', '8'];
    const { code, err } = await at.towpath(...args);
    expect(code).toBe(3);
    expect(err.filter((line) => line.includes('no answer before the time limit'))).toHaveLength(1);
    expect(err.join('\n')).not.toContain('won');
  });

  test('a host whose ports are all closed ends connect at once (A6)', async () => {
    const port = String(await freePort());
    // Were the time limit awaited, this test would not end.
    const { code, err } = await at.towpath('camera', 'connect', CAMERA, '--ports', port, '--timeout', '3600');
    expect(code).toBe(3);
    expect(err.at(-1)).toMatch(new RegExp(`reports every tried port .*${port}.* as closed`));
  });

  test('--ports tries these ports only: a camera on another port is not found by search (B8)', async () => {
    const args = ['camera', 'connect', CAMERA, '--ports', String(await freePort()), '--json'];
    const { out } = await at.towpath(...args);
    expect(JSON.parse(out.at(-1) ?? '')).toMatchObject({ error: { code: 'connect-failed' } });
  });

  test('a UID without servers: the command says that it searches here only (B7)', async () => {
    const args = ['camera', 'info', 'TEST-000001-BCDEF', '--search-port', String(await freePort()), '--timeout', '0.5'];
    const { code, err } = await at.towpath(...args);
    expect(code).toBe(3);
    expect(err[0]).toContain('--servers');
  });

  test('on a terminal connect says what it is doing and counts down (B7)', async () => {
    await using silent = await new NodeNetwork().bindUdp({ address: CAMERA, onMessage: () => {} });
    const args = ['camera', 'info', CAMERA, '--ports', String(silent.local.port), '--timeout', '2.5'];
    const { code, drawn } = await at.onTerminal('', ...args);
    expect(code).toBe(3);
    expect(drawn.some((line) => line.includes('attempt 1, searching; 3 s left'))).toBe(true);
    expect(drawn.some((line) => line.includes('searching; 2 s left'))).toBe(true);
    expect(drawn.at(-1)).toBe('');
  });

  test('"no" at a question changes nothing and is no error; "y" does it (B3)', async () => {
    const port = ['--ports', String(at.camera.listen.port)];
    const no = await at.onTerminal('n', 'camera', 'format', CAMERA, ...port);
    expect([no.code, no.err, at.camera.items.length]).toEqual([0, ['Nothing was changed.'], 83]);
    const yes = await at.onTerminal('y', 'camera', 'format', CAMERA, ...port);
    expect([yes.code, at.camera.items.length]).toEqual([0, 0]);
  });

  test('--keep-clock does not set the clock, and connect says what it did (C5)', async () => {
    const set = await at.toCamera('connect');
    expect(set.out.at(-1)).toMatch(/its clock was set to \d{4}-\d\d-\d\d \d\d:\d\d:\d\d; --keep-clock leaves it/);
    const kept = await at.toCamera('connect', '--keep-clock');
    expect(kept.out.at(-1)).toContain('was not changed');
  });

  test('--camera-time-zone is the zone that the clock is set to (C5)', async () => {
    const clock = async (zone: string) => {
      const { out } = await at.toCamera('connect', '--json', '--camera-time-zone', zone);
      return Number(JSON.parse(out[0] ?? '').device.timeUTC);
    };
    const utc = await clock('UTC');
    expect(Math.abs((await clock('Asia/Kathmandu')) - utc - 5.75 * 3_600)).toBeLessThan(120);
    expect(Math.abs((await clock('-03:30')) - utc + 3.5 * 3_600)).toBeLessThan(120);
  });

  test.each([
    [['camera', 'connect', '--nonsense', '--json']],
    [['camera', 'connect', CAMERA, '--ports', '0', '--json']],
    [['camera', 'connect', CAMERA, 'surplus', '--json']],
    [['camera', '--json']],
    [['nonsense', '--json']],
    [['camera', 'info', 'camera.local', '--json']],
    [['camera', 'info', CAMERA, '--uid', 'nonsense', '--json']],
    [['camera', 'command', '512', '[]', '--json']],
    [['camera', 'find', '--host', 'nonsense', '--json']],
  ])('wrong arguments are exit code 2, and with --json an object: %j', async (args) => {
    const { code, out } = await at.towpath(...args);
    expect(code).toBe(2);
    expect(JSON.parse(out.at(-1) ?? '')).toMatchObject({ error: { message: expect.stringMatching(/\S/) } });
  });

  test('an unreachable camera gives exit code 3, the reason, and with --json an object (B7)', async () => {
    const port = String(await freePort());
    const args = ['camera', 'info', CAMERA, '--ports', port, '--search-port', port, '--timeout', '0.5', '--json'];
    const { code, out, err } = await at.towpath(...args);
    expect(code).toBe(3);
    expect(err.length).toBe(1);
    expect(err[0]).toContain(CAMERA);
    expect(JSON.parse(out.at(-1) ?? '')).toMatchObject({ error: { code: 'connect-failed' } });
  });
});

test('states of a camera are words (G5)', () => {
  for (const state of Object.values(CameraState)) expect(stateText(state)).toMatch(/^[a-z]+( [a-z]+)*$/);
});

function search(at: CommandLine): string[] {
  return ['--host', CAMERA, '--search-port', String(at.searchPort), '--timeout', '0.3'];
}
