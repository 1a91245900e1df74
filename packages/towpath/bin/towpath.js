#!/usr/bin/env node
// Plain JavaScript that any Node can parse, so that an old one gets a sentence instead of a syntax error.
import process from 'node:process';

const { existsSync } = await import('node:fs');
const here = (/** @type {string} */ path) => new URL(path, import.meta.url);

// A clone runs from its sources, which needs a Node that strips types; an installed package is built for older ones too.
const clone = existsSync(here('../src/main.ts'));
const [needMajor, needMinor] = clone ? [24, 11] : [22, 16];
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < needMajor || (major === needMajor && minor < needMinor)) {
  // The repository pins its own Node as a development dependency; npm scripts find it, a bare `node` may not.
  const pinned = here('../../../node_modules/.bin/node').pathname;
  if (clone && existsSync(pinned) && !process.env.TOWPATH_NODE) process.exit(await runWith(pinned));
  console.error(
    `towpath: needs Node ${needMajor}.${needMinor} or newer, this is ${process.version}. Next: install it from your system or nodejs.org.`,
  );
  process.exit(1);
}

if (process.env.TOWPATH_NODE && process.channel) {
  // Whoever started us was killed: an emulator or a watcher may not stay behind.
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  process.channel.unref();
}

if (globalThis.AsyncDisposableStack === undefined) await import('@whatwg-node/disposablestack').then(addStacks);
const { main } = await import(clone ? '../src/main.ts' : '../dist/main.js');
await main();

/** Node 22 has `using` through the build, but not the two stacks. */
function addStacks({ AsyncDisposableStack, DisposableStack }) {
  globalThis.AsyncDisposableStack ??= AsyncDisposableStack;
  globalThis.DisposableStack ??= DisposableStack;
}

/** Runs this command line with another Node, hands it the signals that come, and returns its exit code. */
async function runWith(node) {
  const { spawn } = await import('node:child_process');
  const { constants } = await import('node:os');
  const child = spawn(node, process.argv.slice(1), {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, TOWPATH_NODE: '1' },
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR2']) process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal]));
  });
}
