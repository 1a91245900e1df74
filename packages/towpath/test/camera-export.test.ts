import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type CommandLine, commandLine } from './support.ts';

describe('camera export (B13)', () => {
  let at: CommandLine;

  beforeEach(async () => {
    at = await commandLine({ itemCount: 3 });
  });

  afterEach(() => at.close());

  test('what was downloaded is exported with EXIF, and as Camtrap DP', async () => {
    const [garden, photos, dp] = ['garden', 'photos', 'package'].map((name) => join(at.folder, name)) as [
      string,
      string,
      string,
    ];
    expect((await at.toCamera('download', '-o', garden)).code).toBe(0);
    const plain = await at.towpath('camera', 'export', garden, photos, '--name', 'Deer Path', '--json');
    expect(JSON.parse(plain.out.at(-1) ?? '')).toMatchObject({ type: 'summary', exported: 3, missing: 0 });
    const [first = ''] = readdirSync(photos);
    expect(readFileSync(join(photos, first)).toString('latin1', 0, 400)).toMatch(/Exif.*Deer Path/s);
    const where = ['--latitude', '52.70442', '--longitude', '-23.84995'];
    expect((await at.towpath('camera', 'export', garden, dp, '--camtrap-dp', ...where)).code).toBe(0);
    expect(readFileSync(join(dp, 'media.csv'), 'utf8').trim().split('\r\n')).toHaveLength(4);
    expect(JSON.parse(readFileSync(join(dp, 'datapackage.json'), 'utf8')).spatial.coordinates).toEqual([
      -23.84995, 52.70442,
    ]);
  });

  test.each([
    [['--camtrap-dp'], '--latitude and --longitude'],
    [['--latitude', '91'], 'degrees from -90 to 90'],
  ])('%j is refused with the next step', async (args, text) => {
    const { code, err } = await at.towpath('camera', 'export', at.folder, join(at.folder, 'x'), ...args);
    expect([code, err.join()]).toEqual([2, expect.stringContaining(text)]);
  });
});
