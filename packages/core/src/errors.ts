/** What a {@link TowpathError} can carry besides its message. */
export interface TowpathErrorOptions {
  /** What was to be reached, in a form that a person recognises (`192.168.43.1`, a peer's name). */
  target?: string;
  cause?: unknown;
}

/**
 * The one error of Towpath. Callers branch on `code`, which is stable and kebab-case; the message
 * says what was tried and what to do next. Packages subclass it with a narrower type of `code`.
 */
export class TowpathError<Code extends string = string> extends Error {
  readonly code: Code;
  readonly target: string | undefined;

  constructor(code: Code, message: string, options: TowpathErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.target = options.target;
  }
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
export function errorCode(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return isAbort(error) ? 'aborted' : 'unknown';
}

/** The message of any thrown value, in one line. */
export function errorMessage(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/\s*\n\s*/g, ' ');
}
