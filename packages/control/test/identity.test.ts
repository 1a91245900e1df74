import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SeededRandom } from '@towpath/core';
import { describe, expect, test } from 'vitest';
import { generateNodeIdentity, loadNodeIdentity, saveNodeIdentity } from '../src/identity/node-identity.ts';
import { issueTurnCredentials } from '../src/server/turn-credentials.ts';

const random = new SeededRandom(11);

async function inFolder(body: (folder: string) => Promise<void>) {
  const folder = await mkdtemp(join(tmpdir(), 'towpath-identity-'));
  try {
    await body(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe('keys of a node', () => {
  test('are kept in a file for its owner only, and come back from it, whoever else writes it (C12)', () =>
    inFolder(async (folder) => {
      const path = join(folder, 'deep', 'node.json');
      const identity = await loadNodeIdentity(path, random);
      expect((await stat(path)).mode & 0o777).toBe(0o600);
      const again = await loadNodeIdentity(path, random);
      expect(again.id).toBe(identity.id);
      expect(again.wireGuard).toEqual(identity.wireGuard);
      expect(await readFile(path, 'utf8')).not.toContain(identity.id);
      await chmod(path, 0o644);
      await expect(loadNodeIdentity(path, random)).rejects.toMatchObject({
        code: 'invalid-identity',
        message: expect.stringContaining(`chmod 600 ${path}`),
      });
      await chmod(path, 0o600);
      const other = generateNodeIdentity(random);
      await saveNodeIdentity(path, other);
      expect((await loadNodeIdentity(path, random)).id).toBe(other.id);
      const many = Array.from({ length: 20 }, () => generateNodeIdentity(random));
      await Promise.all(many.map((each) => saveNodeIdentity(path, each)));
      const last = await loadNodeIdentity(path, random);
      expect(many.map(({ id }) => id)).toContain(last.id);
      expect(await readdir(join(folder, 'deep'))).toEqual(['node.json']);
      for (const damaged of ['', '{}', '{"version":1,"signingSeed":"AA","wireGuardPrivateKey":"AA"}']) {
        await writeFile(path, damaged);
        await expect(loadNodeIdentity(path, random)).rejects.toMatchObject({ code: 'invalid-identity' });
      }
    }));
});

describe('keys whose folder cannot be made (G3)', () => {
  test('by a file in its place, or by the system, are an error with the next step, and not waited for', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'towpath-keys-'));
    await writeFile(join(folder, 'file'), '');
    const identity = generateNodeIdentity(new SeededRandom(1));
    await expect(saveNodeIdentity(join(folder, 'file', 'new', 'node.json'), identity)).rejects.toMatchObject({
      code: 'disk-failed',
      message: expect.stringMatching(/node\.json cannot be written: a part of the path is a file\. Next: /),
    });
    await expect(saveNodeIdentity('/proc/towpath/new/node.json', identity)).rejects.toMatchObject({
      code: 'disk-failed',
      message: expect.stringMatching(/node\.json cannot be written: its folder does not exist\. Next: /),
    });
    await rm(folder, { recursive: true });
  });
});

describe('credentials', () => {
  test('TURN credentials follow the REST scheme of coturn', () => {
    // Computed with: printf '1735689600:bob' | openssl dgst -sha1 -hmac sesame -binary | base64
    const issued = issueTurnCredentials('sesame', { user: 'bob', nowMs: 1_735_686_000_500, validForMs: 3_600_000 });
    expect(issued).toEqual({
      username: '1735689600:bob',
      credential: 'YAtaDBPBso1/sUN4i9RJI4Q22z8=',
      expiresAtMs: 1_735_689_600_000,
    });
  });
});
