import { randomUUID } from 'node:crypto';
import { type Style, TerminalText } from './terminal-text.ts';

export type { Style } from './terminal-text.ts';

/** Input and output of a command; tests pass their own. */
export interface Io {
  /** Writes one line to standard output. Control characters are escaped, here as in `err`. */
  out(line: string): void;
  /** Standard error, one line. */
  err(line: string): void;
  /** Standard error: replaces the text of the current line, for progress on a terminal. */
  draw(text: string): void;
  /** Standard error: draws lines, over the `above` lines that were drawn last. */
  redraw(lines: readonly string[], above: number): void;
  /** Writes bytes to standard output (live video). Resolves when they are written. */
  write(bytes: Uint8Array): Promise<void>;
  /** Reads one line instead of standard input or the terminal; for tests. */
  readLine?(question: string): Promise<string | undefined>;
  /** Standard error is a terminal, so progress may be drawn in place. */
  readonly interactive: boolean;
  /** Width of the terminal in characters; without one, lines may have any length. */
  readonly columns: number;
  /** Standard output is no terminal: what another program reads line by line is not wrapped. */
  readonly piped?: boolean;
  /** Styles text if the terminal shows colours. */
  style(style: Style, text: string): string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Returns the input and output of this process. Colours only on a terminal and never with NO_COLOR set. */
export function processIo(): Io {
  const { stdout, stderr, env } = process;
  const colours = stderr.isTTY === true && stdout.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb';
  const text = new TerminalText(colours, randomUUID());
  return {
    out: (line) => {
      stdout.write(`${text.render(line)}\n`);
    },
    err: (line) => {
      stderr.write(`${text.render(line)}\n`);
    },
    draw: (line) => {
      stderr.write(`\r\x1b[2K${text.render(line)}`);
    },
    redraw: (lines, above) => {
      const up = above > 0 ? `\x1b[${above}A` : '';
      stderr.write(up + lines.map((line) => `\x1b[2K${text.render(line)}\n`).join(''));
    },
    write: (bytes) =>
      new Promise((resolve, reject) => {
        stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
      }),
    interactive: stderr.isTTY === true,
    columns: stderr.columns ?? Number.MAX_SAFE_INTEGER,
    piped: stdout.isTTY !== true,
    style: (style, part) => text.style(style, part),
    env,
  };
}
