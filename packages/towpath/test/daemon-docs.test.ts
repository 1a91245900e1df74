import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { fileSchema } from '../src/daemon/config/schema.ts';
import { SETTINGS } from '../src/daemon/config/settings.ts';

const guide = readFileSync(new URL('../../../docs/daemon.md', import.meta.url), 'utf8');

test('the guide names every setting with its environment and default', () => {
  for (const { key, env, byDefault } of SETTINGS)
    expect(guide).toContain(`| \`${key}\` | \`${env}\` | \`${byDefault}\` |`);
  expect(guide.match(/^\| `[a-z]+\.[\w-]+` /gm)).toHaveLength(SETTINGS.length);
});

test("the guide names every key of a camera's entry", () => {
  const entry = { target: '192.168.43.1', unknown: true } as object;
  const wrong = fileSchema.safeParse({ cameras: { feeder: entry } });
  const [, known = ''] = /^known here: (.*)$/.exec(wrong.error?.issues[0]?.message ?? '') ?? [];
  const table = /\| in the entry of a camera [\s\S]*?\n\n/.exec(guide)?.[0] ?? '';
  const named = [...table.matchAll(/^\| (`[^|]*`) \|/gm)].flatMap(([, keys = '']) =>
    keys.replaceAll('`', '').split(', '),
  );
  expect(named.sort()).toEqual(known.split(', ').sort());
});

test('the guide has a row for every policy of paths', () => {
  const table = /\| policy \| paths \|[\s\S]*?\n\n/.exec(guide)?.[0] ?? '';
  const named = [...table.matchAll(/^\| `([a-z-]+)`/gm)].map(([, policy]) => policy);
  const wrong = fileSchema.safeParse({ parties: [{ party: 'camp', policy: 'none' }] });
  const told = `must be ${named.slice(0, -1).join(', ')} or ${named.at(-1)}`;
  expect(JSON.stringify(wrong.error?.issues)).toContain(`"${told}"`);
});
