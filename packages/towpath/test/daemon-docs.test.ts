import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { SETTINGS } from '../src/daemon/config/settings.ts';

const guide = readFileSync(new URL('../../../docs/daemon.md', import.meta.url), 'utf8');

test('the guide names every setting with its environment and default', () => {
  for (const { key, env, byDefault } of SETTINGS)
    expect(guide).toContain(`| \`${key}\` | \`${env}\` | \`${byDefault}\` |`);
  expect(guide.match(/^\| `[a-z]+\.[\w-]+` /gm)).toHaveLength(SETTINGS.length);
});
