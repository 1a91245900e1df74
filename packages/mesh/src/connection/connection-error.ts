import { type ErrorKind, TowpathError, type TowpathErrorOptions } from '@towpath/core';

export type ConnectionErrorCode =
  /** this node is not in the party, as far as the control plane knows */
  | 'party-not-found'
  /** the party has no such member */
  | 'peer-not-found'
  /** the peer's virtual address cannot be used */
  | 'bad-peer'
  /** no echo through the tunnel was answered in time */
  | 'not-reached'
  /** the manager or the connection was closed meanwhile */
  | 'closed';

const KINDS: Readonly<Record<ConnectionErrorCode, ErrorKind>> = {
  'party-not-found': 'usage',
  'peer-not-found': 'usage',
  'bad-peer': 'untrusted',
  'not-reached': 'unreachable',
  closed: 'interrupted',
};

/** What {@link ConnectionManager} throws. */
export class ConnectionError extends TowpathError<ConnectionErrorCode> {
  constructor(code: ConnectionErrorCode, message: string, options?: TowpathErrorOptions) {
    super(code, message, { kind: KINDS[code], ...options });
  }
}
