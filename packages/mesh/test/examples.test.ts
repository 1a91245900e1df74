import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';

const folder = fileURLToPath(new URL('../../../examples/peers/', import.meta.url));

/** Each example with what it prints. */
const EXAMPLES: readonly (readonly [name: string, prints: RegExp])[] = [
  ['connect.ts', /^Connected to peer!\n$/],
  ['disconnect.ts', /^Disconnected\n$/],
  ['errors.ts', /^Connection failed: Peer not found: .*\(peer-not-found\)\n$/],
  ['initialize.ts', /✓ Connection manager initialized\n$/],
  ['monitoring.ts', /degraded \(echo-lost\)[\s\S]*connected \(echo-answered\)\n$/],
  [
    'relay-switch.ts',
    /^Current latency: \d+ ms\nFound alternative relay: relay2\n✓ Switched to better relay: \d+ ms \(improved by [3-9]\d\.\d %\)\n$/,
  ],
  ['status.ts', /^Latency: \d+ ms\nStrategy: (direct|relay)\n10\.66\.\d+\.\d+, connected, since \d{4}-/],
  ['strategies.ts', /^Port-restricted NATs: direct \(\S+\)\nSymmetric NATs: relay \(\S+\)\n$/],
];

describe('examples of peers', { timeout: 120_000 }, () => {
  test.each(EXAMPLES)('%s runs as it is (C1, D6)', async (name, prints) => {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [`${folder}${name}`], { timeout: 60_000 });
    expect(stderr).toBe('');
    expect(stdout).toMatch(prints);
  });

  test('are all named here and in the README (D6)', () => {
    const found = readdirSync(folder).sort();
    expect(EXAMPLES.map(([name]) => name)).toEqual(found);
    const readme = readFileSync(`${folder}../README.md`, 'utf8');
    expect(found.filter((name) => !readme.includes(`\`peers/${name}\``))).toEqual([]);
  });
});
