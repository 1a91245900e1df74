import { TowpathError } from '@towpath/core';

export type NetErrorCode =
  | 'address-in-use'
  | 'address-not-available'
  | 'permission-denied'
  | 'connection-refused'
  | 'unreachable'
  | 'timed-out'
  | 'tls-failed'
  | 'bad-address'
  | 'network-failed';

/** A failure of the network stack; the system's own error is the `cause`. */
export class NetError extends TowpathError<NetErrorCode> {}
