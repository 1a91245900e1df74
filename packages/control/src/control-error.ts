import { type ErrorKind, TowpathError, type TowpathErrorOptions } from '@towpath/core';

/** Error codes of the control plane, on client and server. */
export type ControlErrorCode =
  /** no server could be reached, or the connection broke */
  | 'server-unavailable'
  /** the server's answer has the wrong format */
  | 'bad-answer'
  /** a request without a valid signature */
  | 'unauthorized'
  /** signed by a key without the permission */
  | 'forbidden'
  /** a replayed request */
  | 'replayed'
  /** signed for another server */
  | 'wrong-server'
  /** the clocks of the two sides are too far apart */
  | 'clock-skew'
  | 'not-found'
  /** another author extended the log first */
  | 'conflict'
  | 'invalid-request'
  /** a limit of requests, sizes or numbers was exceeded */
  | 'limit-exceeded'
  /** the statement breaks a rule of the party */
  | 'invalid-statement'
  /** the server's log of the party breaks its rules, or does not contain statements proven before */
  | 'untrusted-log'
  | 'invalid-invite'
  | 'not-a-member'
  | 'peer-offline'
  /** a peer is connected, but has not confirmed a signal in time */
  | 'no-answer'
  /** a peer has not accepted a signal: not by a member it knows, not fresh, or seen before */
  | 'signal-refused'
  | 'invalid-identity'
  /** the server takes no party without a setup code, or not with this one */
  | 'setup-code-required'
  | 'store-failed'
  | 'closed';

/** Error of `@towpath/control`. */
export class ControlError extends TowpathError<ControlErrorCode> {
  static override readonly kinds: Readonly<Record<ControlErrorCode, ErrorKind>> = {
    'server-unavailable': 'unreachable',
    'bad-answer': 'unreachable',
    unauthorized: 'refused',
    forbidden: 'refused',
    replayed: 'refused',
    'wrong-server': 'refused',
    'clock-skew': 'refused',
    'not-found': 'refused',
    conflict: 'refused',
    'invalid-request': 'usage',
    'limit-exceeded': 'refused',
    'invalid-statement': 'refused',
    'untrusted-log': 'untrusted',
    'invalid-invite': 'refused',
    'not-a-member': 'refused',
    'peer-offline': 'unreachable',
    'no-answer': 'unreachable',
    'signal-refused': 'refused',
    'invalid-identity': 'local',
    'setup-code-required': 'refused',
    'store-failed': 'local',
    closed: 'interrupted',
  };

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
