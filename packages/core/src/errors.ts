/**
 * What a failure is about; exit codes and HTTP statuses follow from it.
 *
 * - `unreachable`: no answer, or no path
 * - `refused`: the other side answered, and said no
 * - `local`: this machine cannot: a port in use, no permission, a full disk, a limit
 * - `usage`: the caller asked for something that makes no sense
 * - `untrusted`: a signature, a certificate or a message did not pass its checks
 * - `interrupted`: it was cancelled, or closed on this side
 * - `internal`: a defect of Towpath
 */
export type ErrorKind = 'unreachable' | 'refused' | 'local' | 'usage' | 'untrusted' | 'interrupted' | 'internal';

/** What a {@link TowpathError} can carry besides its message. */
export interface TowpathErrorOptions {
  /** What was to be reached, in a form that a person recognises (`192.168.43.1`, a peer's name). */
  target?: string | undefined;
  cause?: unknown;
  /** @default the one of the code in {@link TowpathError.kinds}, otherwise {@link errorKind} of the code */
  kind?: ErrorKind | undefined;
  /** Report of every attempt, when a race failed. */
  report?: unknown;
}

/**
 * The one error of Towpath. Callers branch on `code`, which is stable and kebab-case, or on `kind`; the message
 * says what was tried and what to do next. Packages subclass it with a narrower type of `code` and their own `kinds`.
 */
export class TowpathError<Code extends string = string> extends Error {
  /** The kind of each code of a subclass. */
  static readonly kinds: Readonly<Record<string, ErrorKind>> = {};
  readonly code: Code;
  readonly kind: ErrorKind;
  readonly target: string | undefined;
  readonly report: unknown;

  constructor(code: Code, message: string, options: TowpathErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.kind = options.kind ?? new.target.kinds[code] ?? errorKind(code);
    this.target = options.target;
    // Not enumerable: a report is long, and is asked for where it is wanted.
    Object.defineProperty(this, 'report', { value: options.report, enumerable: false });
  }
}

/** Kinds of the codes that more than one package uses, and of the system's own. */
const KINDS: Readonly<Record<string, ErrorKind>> = {
  aborted: 'interrupted',
  'address-in-use': 'local',
  'address-not-available': 'local',
  'already-running': 'local',
  'attempt-timed-out': 'unreachable',
  'bad-answer': 'unreachable',
  'bad-argument': 'usage',
  'command-refused': 'refused',
  'command-timeout': 'unreachable',
  'confirmation-required': 'usage',
  conflict: 'refused',
  'connect-failed': 'unreachable',
  'damaged-file': 'local',
  'disk-failed': 'local',
  'disk-full': 'local',
  'file-unreadable': 'local',
  forbidden: 'refused',
  internal: 'internal',
  interrupted: 'interrupted',
  'invalid-config': 'local',
  'invalid-request': 'usage',
  'item-missing': 'refused',
  'limit-exceeded': 'refused',
  'link-closed': 'interrupted',
  'login-failed': 'refused',
  'name-unresolved': 'unreachable',
  'network-failed': 'local',
  'newer-state': 'local',
  'no-answer': 'unreachable',
  'not-a-member': 'refused',
  'not-found': 'refused',
  'not-reached': 'unreachable',
  'not-running': 'local',
  'not-saved': 'refused',
  'party-down': 'local',
  'path-dead': 'unreachable',
  'path-lost': 'unreachable',
  'path-refused': 'unreachable',
  'permission-denied': 'local',
  'pool-closed': 'interrupted',
  'pool-full': 'local',
  'port-sharing-unsupported': 'local',
  'retries-timed-out': 'unreachable',
  'server-unavailable': 'unreachable',
  'session-closed': 'unreachable',
  'timed-out': 'unreachable',
  'transfer-stalled': 'unreachable',
  unauthorized: 'refused',
  unknown: 'internal',
  usage: 'usage',
  'virtual-time-exhausted': 'internal',
  EACCES: 'local',
  EADDRINUSE: 'local',
  EADDRNOTAVAIL: 'local',
  EAFNOSUPPORT: 'local',
  EDQUOT: 'local',
  ECONNABORTED: 'unreachable',
  ECONNREFUSED: 'unreachable',
  ECONNRESET: 'unreachable',
  EHOSTDOWN: 'unreachable',
  EHOSTUNREACH: 'unreachable',
  EMFILE: 'local',
  ENETDOWN: 'local',
  ENETUNREACH: 'unreachable',
  ENOBUFS: 'local',
  ENOENT: 'local',
  ENOSPC: 'local',
  ENOTFOUND: 'unreachable',
  EAI_AGAIN: 'unreachable',
  EPERM: 'local',
  EPIPE: 'unreachable',
  EROFS: 'local',
  ETIMEDOUT: 'unreachable',
};

/** Returns the kind of an error code; `internal` for an unclassified code. */
export function errorKind(code: string): ErrorKind {
  return KINDS[code] ?? 'internal';
}

/** The reason of a signal that Towpath aborts itself: a race that is over, a closed client. */
export class AbortedError extends TowpathError<'aborted'> {
  constructor(message: string, options?: TowpathErrorOptions) {
    super('aborted', message, options);
  }
}

/** True when `error` is how an aborted {@link AbortSignal} shows itself. */
export function isAbort(error: unknown): boolean {
  if (error instanceof AbortedError) return true;
  return error instanceof Error && error.name === 'AbortError';
}

/** The code of any thrown value: ours, a Node system error's (`EADDRINUSE`), or `unknown`. */
export function errorCode(thrown: unknown): string {
  const error = firstError(thrown);
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return isAbort(error) ? 'aborted' : 'unknown';
}

/** The error that came first, where closing what was open has failed after it. Node 22 has no class for the two together. */
export function firstError(error: unknown): unknown {
  const isPair = error instanceof Error && error.name === 'SuppressedError' && 'suppressed' in error;
  return isPair ? firstError(error.suppressed) : error;
}

/** How to run Node is no advice for somebody who runs Towpath. */
const NODE_ADVICE = /; if the root CA is installed locally, try running Node\.js with --use-system-ca/;

/** The message of any thrown value, in one line. */
export function errorMessage(thrown: unknown): string {
  const error = firstError(thrown);
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(NODE_ADVICE, '').replace(/\s*\n\s*/g, ' ');
}
