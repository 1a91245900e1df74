import { deadline, TowpathError } from '@towpath/core';
import type { Runtime } from '../../cli/runtime.ts';
import { connectedLockIn, lockOwner } from '../../config/process-lock.ts';
import { apiSocketPath } from './socket-path.ts';

// An import would read every export, and the one for WebSockets loads all of fetch, which takes longer than the rest.
const { request } = process.getBuiltinModule('node:http');

const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
/** A camera that is removed is logged out first, and a machine under load needs a while for anything. */
const ANSWER_LIMIT_MS = 30_000;
/** After this time a person wants to know what is waited for. */
const SAY_WAITING_MS = 3_000;

type Asking = Pick<Runtime, 'configFolder' | 'signal' | 'clock' | 'io'>;
type Method = 'GET' | 'POST' | 'DELETE';

/**
 * Asks a running daemon over its Unix socket. @returns the answer's JSON; undefined for an empty one
 * @throws TowpathError `not-running`, `permission-denied`, or `not-answering` after 30 s, or the error that the daemon answered.
 */
export async function askDaemon<Answer>(
  runtime: Asking,
  method: Method,
  path: string,
  body?: unknown,
): Promise<Answer> {
  const text = await ask(runtime, method, path, body);
  try {
    return (text === '' ? undefined : JSON.parse(text)) as Answer;
  } catch {
    throw badAnswer('is not JSON');
  }
}

/** Reads something that is not JSON. Throws as {@link askDaemon}. */
export function askDaemonText(runtime: Asking, path: string): Promise<string> {
  return ask(runtime, 'GET', path);
}

async function ask(asking: Asking, method: Method, path: string, body?: unknown): Promise<string> {
  const { configFolder, clock, io } = asking;
  // A daemon that hangs, or was stopped, takes the question and never answers.
  using limit = deadline(clock, ANSWER_LIMIT_MS, asking.signal, () => notAnswering(configFolder, ANSWER_LIMIT_MS));
  const { signal } = limit;
  using _waiting = clock.timer(SAY_WAITING_MS, () =>
    io.err(`towpath up${processOf(configFolder)} has not answered yet; waiting up to ${ANSWER_LIMIT_MS / 1_000} s …`),
  );
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
          if (bytes > MAX_ANSWER_BYTES) answer.destroy(badAnswer(`is longer than ${MAX_ANSWER_BYTES} bytes`));
          else chunks.push(chunk);
        });
        answer.once('error', (cause) => reject(signal.aborted ? signal.reason : cutOff(cause)));
        answer.once('end', () => resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
      },
    );
    asked.once('error', (cause) => reject(signal.aborted ? signal.reason : unreachable(cause, configFolder)));
    asked.end(payload);
  });
  if (status < 400) return text;
  const error = problemIn(text);
  throw error === undefined ? badAnswer(`has the status ${status}`) : new TowpathError(error.code, error.message);
}

function problemIn(text: string): { code: string; message: string } | undefined {
  try {
    const { error } = JSON.parse(text) as { error?: { code?: unknown; message?: unknown } };
    const { code, message } = error ?? {};
    return typeof code === 'string' && typeof message === 'string' ? { code, message } : undefined;
  } catch {
    return undefined;
  }
}

/** An answer of another form: of another version, or of another program at the socket. */
export function badAnswer(what: string, cause?: unknown): TowpathError {
  return new TowpathError(
    'bad-answer',
    `The answer of towpath up ${what}. Next: towpath down, then towpath up of this version.`,
    { cause, kind: 'local' },
  );
}

function cutOff(cause: Error): TowpathError {
  return cause instanceof TowpathError ? cause : badAnswer('was cut off', cause);
}

/** ` (process 4711)`, where it is known. */
function processOf(configFolder: string): string {
  const pid = lockOwner(connectedLockIn(configFolder));
  return pid === undefined ? '' : ` (process ${pid})`;
}

/** The same sentence and exit code for every command that a running daemon leaves without an answer. */
export function notAnswering(configFolder: string, waitedMs: number): TowpathError {
  const next = 'towpath logs shows what it did last; towpath down or kill -9 ends it';
  return new TowpathError(
    'not-answering',
    `towpath up${processOf(configFolder)} runs and ${waitedMs === 0 ? 'accepts no connection' : `has not answered within ${waitedMs / 1_000} s`}. Next: ${next}.`,
    { kind: 'local' },
  );
}

function unreachable(cause: NodeJS.ErrnoException, configFolder: string): TowpathError {
  if (cause instanceof TowpathError) return cause;
  if (cause.code?.startsWith('HPE_') === true) {
    const path = apiSocketPath(configFolder);
    const message = `What answers at ${path} is not towpath up: it does not speak HTTP. Next: end that program.`;
    return new TowpathError('bad-answer', message, { cause, kind: 'local' });
  }
  // A daemon that hangs accepts no connections either, and the system's queue of them is full.
  if (cause.code === 'EAGAIN') return notAnswering(configFolder, 0);
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
