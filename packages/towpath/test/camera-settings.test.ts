import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CAMERA, type CommandLine, commandLine } from './support.ts';

describe('camera settings and set', () => {
  let at: CommandLine;

  beforeEach(async () => {
    at = await commandLine();
  });

  afterEach(() => at.close());

  const where = () => [CAMERA, '--ports', String(at.camera.listen.port), '--search-port', String(at.searchPort)];

  test('settings are shown in words, and what is not known is said', async () => {
    const { code, out } = await at.toCamera('settings');
    expect(code).toBe(0);
    expect(out.find((line) => line.startsWith('motion-pause'))).toMatch(/motion-pause +10 s +pause after a trigger/);
    expect(out.find((line) => line.startsWith('work-mode'))).toContain('its meaning is not known');
    const json = await at.toCamera('settings', '--json');
    expect(json.out.map((line) => JSON.parse(line))).toContainEqual(
      expect.objectContaining({ name: 'sound', value: 'on', raw: 1, field: 'recordAudio', known: true }),
    );
  });

  test('set changes a value that settings then shows', async () => {
    const set = await at.towpath('camera', 'set', 'work-from', '06:30', ...where());
    expect([set.code, set.out]).toEqual([0, ['✓ work-from: 00:00 → 06:30']]);
    const { out } = await at.toCamera('settings');
    expect(out.find((line) => line.startsWith('work-from'))).toContain('06:30');
  });

  test('a wrong value is a usage error that says what is accepted', async () => {
    const { code, err } = await at.towpath('camera', 'set', 'sound', 'loud', ...where());
    expect(code).toBe(2);
    expect(err.join()).toContain('sound takes on or off, not "loud"');
  });

  test('a setting whose values are not known needs --force', async () => {
    const refused = await at.towpath('camera', 'set', 'work-mode', '1', ...where());
    expect([refused.code, refused.err.join()]).toEqual([2, expect.stringContaining('--force')]);
    expect((await at.towpath('camera', 'set', 'work-mode', '1', ...where(), '--force')).out[0]).toContain('0 → 1');
  });
});
