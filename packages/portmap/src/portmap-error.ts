import { type ErrorKind, TowpathError } from '@towpath/core';

export type PortmapErrorCode =
  /** no default gateway is known */
  | 'no-gateway'
  /** the gateway does not answer: it does not support this protocol */
  | 'no-answer'
  /** the gateway answered with a result other than success; see the message */
  | 'gateway-refused'
  /** the gateway speaks another version of the protocol */
  | 'version-mismatch'
  /** an answer that the protocol does not allow */
  | 'bad-answer'
  /** no protocol created a mapping */
  | 'no-mapping';

/** A failure to map a port at the gateway. */
export class PortmapError extends TowpathError<PortmapErrorCode> {
  static override readonly kinds: Readonly<Record<PortmapErrorCode, ErrorKind>> = {
    'no-gateway': 'unreachable',
    'no-answer': 'unreachable',
    'gateway-refused': 'refused',
    'version-mismatch': 'refused',
    'bad-answer': 'unreachable',
    'no-mapping': 'unreachable',
  };
}
