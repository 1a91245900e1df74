import type { Io } from '../src/cli/io.ts';

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
