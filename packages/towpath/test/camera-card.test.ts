import { join } from 'node:path';
import { CameraError } from '@towpath/camera';
import { AbortedError } from '@towpath/core';
import { describe, expect, test } from 'vitest';
import { emptyCardText } from '../src/commands/camera/media.ts';
import { commandLine } from './support.ts';

const NO_CARD =
  'The camera has no card: it reports a size of 0 MB. Next: insert one, or check that it is inserted fully.';

describe('a camera without pictures (B13)', () => {
  test.each([
    ['no card', { hasCard: false }, NO_CARD, /card +none/],
    ['an empty one', { itemCount: 0 }, 'The card is empty.', /card +30196 MB free of 30196 MB/],
  ])('with %s says so, and that is no failure', async (_name, camera, text, card) => {
    const at = await commandLine(camera);
    const media = await at.toCamera('media');
    expect([media.code, media.out, media.err]).toEqual([0, [], expect.arrayContaining(['0 items', text])]);
    for (const command of ['download', 'thumbnails']) {
      const { code, out, err } = await at.toCamera(command, '-o', join(at.folder, 'pictures'));
      expect([code, out]).toEqual([0, []]);
      expect(err.filter((line) => line === text)).toHaveLength(1);
    }
    expect((await at.toCamera('info')).out.join('\n')).toMatch(card);
    const json = await at.toCamera('download', '-o', join(at.folder, 'pictures'), '--json');
    expect([json.code, JSON.parse(json.out.at(-1) ?? ''), json.err]).toEqual([
      0,
      expect.objectContaining({ listed: 0 }),
      [],
    ]);
    await at.close();
  });

  test('with pictures that are older than --since says nothing about the card', async () => {
    const at = await commandLine({ itemCount: 2 });
    const { code, err } = await at.toCamera('media', '--since', '2040-01-01');
    expect([code, err.at(-1)]).toEqual([0, '0 items']);
    await at.close();
  });

  test('says no more than a camera tells', async () => {
    const silent = new CameraError('command-timeout', 'No answer.', { target: 'camera' });
    const camera = (answer: Promise<object>) => ({ deviceInfo: () => answer as never });
    const told = (answer: Promise<object>) => emptyCardText(camera(answer), undefined);
    const unknown = 'The camera has no card, or an empty one.';
    expect(await told(Promise.resolve({ devId: 'x' }))).toBe(unknown);
    expect(await told(Promise.resolve({ devId: 'x', sdTotalMB: -1 }))).toBe(unknown);
    expect(await told(Promise.reject(silent))).toBe(unknown);
    await expect(told(Promise.reject(new AbortedError('Interrupted.')))).rejects.toThrow('Interrupted.');
  });
});
