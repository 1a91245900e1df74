import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { finished, Lab, labAvailable, says } from './support/lab.ts';
import {
  directExpected,
  hostAt,
  measurePair,
  PLACES,
  SERVER,
  startCamera,
  startServer,
  UID,
} from './support/three-way.ts';

const OTHER_SERVER = '203.0.113.11';

/** Three pictures of the emulator's card, whose bytes follow from its seed. */
const PICTURE_BYTES = 762_896;

describe.skipIf(!labAvailable() && process.env.CI !== 'true')(
  'a camera behind one NAT, a client behind another',
  () => {
    let lab: Lab;

    beforeEach(() => {
      lab = new Lab();
    });

    afterEach(() => lab.close());

    const pairs = PLACES.flatMap((client) => PLACES.map((camera) => ({ client, camera })));
    test.each(pairs)(
      'client $client, camera $camera: the best way that the pair allows, pictures byte-exact (A2, A7)',
      async (pair) => {
        await startServer(lab);
        const camera = hostAt(lab, pair.camera, 'camera', '203.0.113.20');
        const client = hostAt(lab, pair.client, 'client', '203.0.113.30');
        await startCamera(camera);
        const direct = directExpected(pair.client, pair.camera);
        const result = await measurePair(client, pair, direct ? 6 : 0);
        expect(result.bytes).toBe(PICTURE_BYTES);
        if (direct) expect(result.kind).not.toBe('relay');
        if (pair.client === 'udp-blocked' || pair.camera === 'udp-blocked') expect(result.kind).toBe('relay');
      },
    );

    test('killing the relay in mid-download moves the session to the next server within 2 s, byte-exact (A7)', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'towpath-kill-'));
      const servers = [SERVER, OTHER_SERVER];
      const hosts = new Map([
        [SERVER, await startServer(lab, SERVER)],
        [OTHER_SERVER, await startServer(lab, OTHER_SERVER)],
      ]);
      const cameraHost = hostAt(lab, 'symmetric-random', 'camera', '203.0.113.20');
      const client = hostAt(lab, 'symmetric-random', 'client', '203.0.113.30');
      const camera = await startCamera(cameraHost, { servers, more: ['--fault', 'slow=400000'] });
      const args = ['camera', 'download', UID, '--servers', servers.join(','), '-o', folder, '--limit', '8', '--json'];
      const download = client.towpath(args, { TOWPATH_HOME: join(folder, 'home') });
      const done = finished(download, 60_000);
      const session = await says(camera, /"type":"session"[^\n]*\n/, 20_000);
      await says(download, /("type":"saved"[\s\S]*){2}/, 20_000);
      const relay = /"session"[^\n]*"address":"([\d.]+)"/.exec(session)?.[1] ?? '';
      const moved = says(camera, /"type":"session"[^\n]*\n/, 10_000);
      const killedAt = performance.now();
      await hosts.get(relay)?.stopAll();
      await moved;
      expect(performance.now() - killedAt).toBeLessThan(2_000);
      const { code, stdout } = await done;
      expect(code).toBe(0);
      const summary = JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
      expect(summary).toMatchObject({ saved: 8, failed: [] });
      const index = JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8'));
      const paths = index.items.flatMap(({ file }: { file?: string }) => (file ? [join(folder, file)] : []));
      for (const path of paths) expect([...readFileSync(path).subarray(-2)]).toEqual([0xff, 0xd9]);
      expect(paths.length).toBe(8);
      rmSync(folder, { recursive: true, force: true });
    });

    test.each([
      ['nobody answers at the server', ['--servers', '203.0.113.99'], /server-unreachable|not answer|no answer/i],
      ['the camera is not online', ['--servers', SERVER], /offline|not.*logged in|unknown/i],
    ])('says why: %s (A5)', async (_name, args, reason) => {
      await startServer(lab);
      const client = lab.host('client', '203.0.113.30');
      const command = ['camera', 'connect', UID, ...args, '--only', 'p2p,relay', '--timeout', '6', '--json'];
      const { code, stdout, stderr } = await finished(client.towpath(command), 30_000);
      expect(code).toBe(3);
      expect(stderr.trim().split('\n').length).toBe(1);
      expect(stderr + stdout).toMatch(reason);
    });
  },
);
