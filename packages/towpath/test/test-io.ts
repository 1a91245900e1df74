import { SeededRandom, silentLog } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { NodeNetwork } from '@towpath/net';
import type { Io } from '../src/cli/io.ts';
import type { Runtime } from '../src/cli/runtime.ts';

/** Returns an `Io` that prints nothing, on a page of 80 columns, with `changes`. */
export function testIo(changes: Partial<Io> = {}): Io {
  return {
    out: () => {},
    err: () => {},
    draw: () => {},
    redraw: () => {},
    write: async () => {},
    interactive: false,
    columns: 80,
    style: (_style, text) => text,
    env: {},
    ...changes,
  };
}

/** Returns a runtime for what is only described and does not run, such as help. */
export function idleRuntime(): Runtime {
  return {
    io: testIo(),
    clock: new VirtualClock(),
    random: new SeededRandom(1),
    network: new NodeNetwork(),
    log: silentLog,
    signal: new AbortController().signal,
    configFolder: '/nowhere',
  };
}
