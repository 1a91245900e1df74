import { mkdirSync } from 'node:fs';
import { SystemClock, SystemRandom, silentLog } from '@towpath/core';
import { NodeNetwork } from '@towpath/net';
import type { Runtime } from '../../packages/towpath/src/cli/runtime.ts';
import { run } from '../../packages/towpath/src/main.ts';
import { testIo } from '../../packages/towpath/test/test-io.ts';

/** What commands need, with `configFolder` as the folder of a node; what they print goes to `out`. */
export function nodeRuntime(configFolder: string, out: string[] = [], signal?: AbortSignal): Runtime {
  mkdirSync(configFolder, { recursive: true, mode: 0o700 });
  return {
    io: testIo({ out: (line) => void out.push(line), columns: 200, readLine: async () => undefined }),
    clock: new SystemClock(),
    random: new SystemRandom(),
    network: new NodeNetwork(),
    log: silentLog,
    signal: signal ?? new AbortController().signal,
    configFolder,
  };
}

/** Runs one command as a node. @returns what it printed @throws when it fails */
export async function command(configFolder: string, ...args: string[]): Promise<string[]> {
  const out: string[] = [];
  const code = await run(args, nodeRuntime(configFolder, out));
  if (code !== 0) throw new Error(`towpath ${args.join(' ')} ended with ${code}.`);
  return out;
}
