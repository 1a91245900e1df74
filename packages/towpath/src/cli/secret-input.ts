import { createInterface } from 'node:readline/promises';
import { UsageError } from './failure.ts';
import type { Runtime } from './runtime.ts';

/** Longest line that is read: an invite link with eight servers is below 3 kB. */
const MAX_LINE_LENGTH = 8_192;

/**
 * Reads a secret that is not on the command line, where other users of the machine could see it: from a question on the
 * terminal, or the first line of standard input.
 * @param question what is asked for, as `Invite code or link`.
 * @throws UsageError when nothing is given.
 */
export async function readSecretInput({ io, signal }: Runtime, question: string): Promise<string> {
  const piped = io.readLine === undefined ? !process.stdin.isTTY : !io.interactive;
  // Without it a command that waits for a pipe would seem to hang.
  if (piped) io.err(`${question}: read from standard input.`);
  const text = io.readLine === undefined ? await readStandardInput(question, signal) : await io.readLine(question);
  const line = (text ?? '').trim().slice(0, MAX_LINE_LENGTH);
  if (line === '') {
    throw new UsageError(
      `${question}: nothing was given${piped ? ', and standard input is no terminal to ask on' : ''}. Next: write it to a file that only you can read, and give that as standard input: … < FILE`,
    );
  }
  return line;
}

async function readStandardInput(question: string, signal: AbortSignal): Promise<string | undefined> {
  const { stdin, stderr } = process;
  if (stdin.isTTY) {
    const reader = createInterface({ input: stdin, output: stderr });
    try {
      return await reader.question(`${question}: `, { signal });
    } finally {
      reader.close();
    }
  }
  let text = '';
  for await (const part of stdin) {
    signal.throwIfAborted();
    text += String(part);
    if (text.includes('\n') || text.length > MAX_LINE_LENGTH) break;
  }
  return text.split('\n')[0];
}
