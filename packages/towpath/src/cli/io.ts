import { styleText } from 'node:util';

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

/** Where a command reads from and writes to; tests give their own. */
export interface Io {
  /** Standard output, one line. */
  out(line: string): void;
  /** Standard error, one line. */
  err(line: string): void;
  /** Raw text to standard error without a newline: progress on a terminal. */
  draw(text: string): void;
  /** Bytes to standard output (live video to a player). Resolves when they are taken. */
  write(bytes: Uint8Array): Promise<void>;
  /** Standard error is a terminal, so progress may be drawn in place. */
  readonly interactive: boolean;
  /** Width of the terminal in characters; without one, lines may have any length. */
  readonly columns: number;
  /** Styles text, when the terminal wants colours. */
  style(style: Style, text: string): string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The real process. Colours only on a terminal and never with NO_COLOR set. */
export function processIo(): Io {
  const { stdout, stderr, env } = process;
  const colours = stderr.isTTY === true && stdout.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb';
  return {
    out: (line) => {
      stdout.write(`${line}\n`);
    },
    err: (line) => {
      stderr.write(`${line}\n`);
    },
    draw: (text) => {
      stderr.write(text);
    },
    write: (bytes) =>
      new Promise((resolve, reject) => {
        stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
      }),
    interactive: stderr.isTTY === true,
    columns: stderr.columns ?? Number.MAX_SAFE_INTEGER,
    style: (style, text) => (colours ? styleText(style, text, { validateStream: false }) : text),
    env,
  };
}
