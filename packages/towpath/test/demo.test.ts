import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { CommandLine } from './command-line.ts';

test('a demo without a terminal prints no link that is dead at once, and leaves no folder behind (13.7)', async () => {
  using commandLine = new CommandLine();
  const { code, out, err } = await commandLine.run(['demo', '--json', '--pictures', '5']);
  expect([code, err]).toEqual([0, '']);
  const steps = out.map((line) => JSON.parse(line) as { step: string; text?: string; folder?: string; kept?: boolean });
  const done = steps.find(({ step }) => step === 'done');
  expect(done).toMatchObject({ kept: false, text: expect.stringContaining('--output FOLDER keeps them') });
  expect(existsSync(done!.folder!)).toBe(false);
  expect(steps.find(({ step }) => step === 'page')).toMatchObject({ served: false });
  expect(out.join('\n')).not.toContain('#token=');
}, 120_000);
