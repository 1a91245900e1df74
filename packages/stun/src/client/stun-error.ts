import { type ErrorKind, TowpathError, type TowpathErrorOptions } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import type { ErrorCodeValue } from '../message/attribute.ts';

export type StunErrorName =
  /** no answer after every retransmission */
  | 'stun-timed-out'
  /** the server answered with an error; {@link StunError.response} has it */
  | 'stun-refused'
  /** the server does not accept the credentials */
  | 'stun-unauthenticated'
  /** the answer is not one to this request: an attribute is missing or not understood */
  | 'stun-bad-response'
  /** the connection to the server ended, or the user closed it */
  | 'stun-closed'
  /** the relay allocation is gone */
  | 'turn-allocation-lost';

interface StunErrorOptions extends TowpathErrorOptions {
  response?: ErrorCodeValue;
  alternate?: Endpoint | undefined;
}

/** What went wrong with a STUN or TURN server. */
export class StunError extends TowpathError<StunErrorName> {
  static override readonly kinds: Readonly<Record<StunErrorName, ErrorKind>> = {
    'stun-timed-out': 'unreachable',
    'stun-refused': 'refused',
    'stun-unauthenticated': 'refused',
    'stun-bad-response': 'unreachable',
    'stun-closed': 'interrupted',
    'turn-allocation-lost': 'unreachable',
  };

  /** The server's error code and reason, when it sent one. */
  readonly response: ErrorCodeValue | undefined;
  /** The server to ask instead (300 Try Alternate). */
  readonly alternate: Endpoint | undefined;

  constructor(code: StunErrorName, message: string, options: StunErrorOptions = {}) {
    super(code, message, options);
    this.response = options.response;
    this.alternate = options.alternate;
  }
}
