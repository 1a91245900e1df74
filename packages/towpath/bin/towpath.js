#!/usr/bin/env node
// Plain JavaScript that any Node can parse, so that an old one gets a sentence instead of a syntax error.
import process from 'node:process';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 24 || (major === 24 && minor < 11)) {
  // The repository pins its own Node as a development dependency; npm scripts find it, a bare `node` may not.
  const { existsSync } = await import('node:fs');
  const { spawnSync } = await import('node:child_process');
  const pinned = new URL('../../../node_modules/.bin/node', import.meta.url).pathname;
  if (existsSync(pinned) && !process.env.TOWPATH_NODE) {
    const child = spawnSync(pinned, process.argv.slice(1), {
      stdio: 'inherit',
      env: { ...process.env, TOWPATH_NODE: '1' },
    });
    process.exit(child.status ?? 1);
  }
  console.error(
    `towpath: needs Node 24.11 or newer, this is ${process.version}. Next: install it from your system or nodejs.org.`,
  );
  process.exit(1);
}

const { main } = await import('../src/main.ts');
await main();
