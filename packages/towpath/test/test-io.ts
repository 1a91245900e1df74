import type { Io } from '../src/cli/io.ts';

/** Prints nothing. */
export function testIo(): Io {
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
  };
}
