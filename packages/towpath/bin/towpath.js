#!/usr/bin/env node
// Plain JavaScript that any Node can parse, so that an old one gets a sentence instead of a syntax error.
import process from 'node:process';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 24 || (major === 24 && minor < 11)) {
  // The repository pins its own Node as a development dependency; npm scripts find it, a bare `node` may not.
  const { existsSync } = await import('node:fs');
  const pinned = new URL('../../../node_modules/.bin/node', import.meta.url).pathname;
  if (existsSync(pinned) && !process.env.TOWPATH_NODE) process.exit(await runWith(pinned));
  console.error(
    `towpath: needs Node 24.11 or newer, this is ${process.version}. Next: install it from your system or nodejs.org.`,
  );
  process.exit(1);
}

if (process.env.TOWPATH_NODE && process.channel) {
  // Whoever started us was killed: an emulator or a watcher may not stay behind.
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  process.channel.unref();
}

const { main } = await import('../src/main.ts');
await main();

/** Runs this command line with another Node, hands it the signals that come, and returns its exit code. */
async function runWith(node) {
  const { spawn } = await import('node:child_process');
  const { constants } = await import('node:os');
  const child = spawn(node, process.argv.slice(1), {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, TOWPATH_NODE: '1' },
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal]));
  });
}
