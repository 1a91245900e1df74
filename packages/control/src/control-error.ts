import { TowpathError, type TowpathErrorOptions } from '@towpath/core';

/** What can go wrong with the control plane, seen from either side. */
export type ControlErrorCode =
  /** no server could be reached, or the connection broke */
  | 'server-unavailable'
  /** the server answered with something that is no answer of ours */
  | 'bad-answer'
  /** a request without a valid signature */
  | 'unauthorized'
  /** signed by a key that may not do this */
  | 'forbidden'
  /** the same request came twice */
  | 'replayed'
  /** the clocks of the two sides are too far apart */
  | 'clock-skew'
  | 'not-found'
  /** somebody else extended the log first */
  | 'conflict'
  | 'invalid-request'
  /** over a limit of requests, sizes or numbers */
  | 'limit-exceeded'
  /** the statement breaks a rule of the party */
  | 'invalid-statement'
  /** the server's log of the party does not hold what was proven before, or breaks its rules */
  | 'untrusted-log'
  | 'invalid-invite'
  | 'not-a-member'
  | 'peer-offline'
  | 'invalid-identity'
  | 'store-failed'
  | 'closed';

/** Every error that `@towpath/control` throws on purpose. */
export class ControlError extends TowpathError<ControlErrorCode> {
  /** Facts for programs: the server's clock, a head, a limit. */
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: ControlErrorCode,
    message: string,
    options: TowpathErrorOptions & { details?: Readonly<Record<string, unknown>> } = {},
  ) {
    super(code, message, options);
    this.details = options.details ?? {};
  }
}
