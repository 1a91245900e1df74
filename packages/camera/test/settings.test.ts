import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseDeviceInfo } from '../src/artemis/device-info.ts';
import { changeSetting } from '../src/settings/change-setting.ts';
import { SETTINGS } from '../src/settings/settings.ts';
import { Hotspot } from './emulator-fixture.ts';

/** Changes a setting of an emulated camera. */
async function change(
  name: string,
  value: string,
  settingsPolicy: 'accept' | 'ignore' | 'silent' = 'accept',
  allowUnknown = false,
) {
  const hotspot = new Hotspot();
  await hotspot.camera({ settingsPolicy });
  const client = await hotspot.connected();
  try {
    return await hotspot.run(changeSetting(client, name, value, { allowUnknown }));
  } finally {
    await hotspot.end();
  }
}

describe('settings in words (B3)', () => {
  test.each([
    ['motion-pause', '30', '10 s', '30 s'],
    ['sound', 'off', 'on', 'off'],
    ['strip', 'off', 'on', 'off'],
    ['work-from', '6:30', '00:00', '06:30'],
    ['language', 'de', 'en', 'de'],
    ['name', 'Deer Path', 'TOWPATH 01', 'Deer Path'],
  ])('%s is set to %s and read back', async (name, value, before, after) => {
    expect(await change(name, value)).toMatchObject({ before, after });
  });

  test.each([
    ['motion-pause', '-1', 'a whole number from 0 to 3600, s'],
    ['motion-pause', '1e2', 'a whole number'],
    ['sound', '1', 'on or off'],
    ['work-from', '24:00', 'a time of day'],
    ['language', 'xx', 'one of en, de'],
    ['name', 'a\u001b[2J', 'printable text'],
    ['name', 'x'.repeat(33), 'printable text of up to 32 bytes'],
  ])('%s does not take %j, and the error says what it takes', async (name, value, accepted) => {
    const message = expect.stringContaining(accepted);
    await expect(change(name, value)).rejects.toMatchObject({ code: 'bad-argument', message });
  });

  test('an unknown name is answered with the known ones', async () => {
    const message = expect.stringContaining('motion-pause');
    await expect(change('colour', 'red')).rejects.toMatchObject({ code: 'bad-argument', message });
  });

  test('a setting whose numbers are not known is changed only on request', async () => {
    await expect(change('work-mode', '1')).rejects.toMatchObject({ code: 'confirmation-required' });
    expect(await change('work-mode', '1', 'accept', true)).toMatchObject({ before: '0', after: '1' });
    await expect(change('photo-resolution', '77', 'accept', true)).rejects.toMatchObject({ code: 'bad-argument' });
  });

  test('a camera that answers and keeps its value has refused', async () => {
    const message = expect.stringMatching(/motion-pause is still 10 s/);
    await expect(change('motion-pause', '30', 'ignore')).rejects.toMatchObject({ code: 'command-refused', message });
  });

  test('a camera that does not answer is reported as such', async () => {
    await expect(change('motion-pause', '30', 'silent')).rejects.toMatchObject({ code: 'command-timeout' });
  });

  test('texts and numbers that no camera sends count as absent', () => {
    const numbers = { batPercent: 1e300, temperature: -1e308, timeUTC: 2 ** 60 };
    const info = parseDeviceInfo({ devId: 'x', modelName: 'A'.repeat(300_000), fwVerName: '2.3', ...numbers });
    expect(info).toMatchObject({ ok: true, value: { devId: 'x', fwVerName: '2.3' } });
    const value = info.ok ? info.value : undefined;
    expect([value?.modelName, value?.batPercent, value?.temperature, value?.timeUTC]).toEqual(Array(4).fill(undefined));
  });

  test('settings that a camera does not have are not shown, and hostile values do no harm', () => {
    const bare = parseDeviceInfo({ devId: 'C2:00:5E:00:53:0A' });
    if (!bare.ok) throw new Error(bare.message);
    expect(SETTINGS.map((setting) => setting.show(bare.value)).filter((value) => value !== undefined)).toEqual([]);
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom(...SETTINGS.map(({ field }) => field), 'capability'), fc.jsonValue()),
        fc.string(),
        (fields, value) => {
          const info = parseDeviceInfo({ ...(fields as object), devId: 'x' });
          if (!info.ok) return;
          for (const setting of SETTINGS) {
            expect(['string', 'undefined']).toContain(typeof setting.show(info.value));
            setting.parse(value, info.value);
          }
        },
      ),
    );
  });
});
