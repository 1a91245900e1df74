import { TowpathError } from '@towpath/core';
import type { Runtime } from '../../cli/runtime.ts';
import { apiSocketPath } from './socket-path.ts';

// An import would read every export, and the one for WebSockets loads all of fetch, which takes longer than the rest.
const { request } = process.getBuiltinModule('node:http');

const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

type Asking = Pick<Runtime, 'configFolder' | 'signal'>;
type Method = 'GET' | 'POST' | 'DELETE';

/**
 * Asks a running daemon over its Unix socket. @returns the answer's JSON; undefined for an empty one
 * @throws TowpathError `not-running`, `permission-denied`, or the error that the daemon answered.
 */
export async function askDaemon<Answer>(
  runtime: Asking,
  method: Method,
  path: string,
  body?: unknown,
): Promise<Answer> {
  const text = await ask(runtime, method, path, body);
  return (text === '' ? undefined : JSON.parse(text)) as Answer;
}

/** Reads something that is not JSON. Throws as {@link askDaemon}. */
export function askDaemonText(runtime: Asking, path: string): Promise<string> {
  return ask(runtime, 'GET', path);
}

async function ask({ configFolder, signal }: Asking, method: Method, path: string, body?: unknown): Promise<string> {
  const { status, text } = await new Promise<{ status: number; text: string }>((resolve, reject) => {
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const asked = request(
      {
        socketPath: apiSocketPath(configFolder),
        // A connection each: one that was kept would be reset by a daemon that has started anew, and look like none at all.
        agent: false,
        method,
        path,
        signal,
        headers:
          payload === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) },
      },
      (answer) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        answer.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > MAX_ANSWER_BYTES) answer.destroy(new RangeError('The answer is too long.'));
          else chunks.push(chunk);
        });
        answer.once('error', (cause) => reject(signal.aborted ? signal.reason : cause));
        answer.once('end', () => resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
      },
    );
    asked.once('error', (cause) => reject(signal.aborted ? signal.reason : unreachable(cause)));
    asked.end(payload);
  });
  if (status < 400) return text;
  const { error } = JSON.parse(text) as { error?: { code: string; message: string } };
  throw new TowpathError(error?.code ?? 'bad-answer', error?.message ?? `The daemon answered ${status}.`);
}

function unreachable(cause: NodeJS.ErrnoException): TowpathError {
  if (cause.code === 'EACCES') {
    return new TowpathError('permission-denied', 'towpath up runs as another user. Next: use sudo.', { cause });
  }
  return notRunning(cause);
}

/** The same sentence and exit code for every command that needs a running daemon. */
export function notRunning(cause?: unknown): TowpathError {
  return new TowpathError('not-running', 'towpath up is not running. Next: towpath up, with sudo for parties.', {
    cause,
    kind: 'local',
  });
}
