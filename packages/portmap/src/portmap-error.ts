import { TowpathError } from '@towpath/core';

export type PortmapErrorCode =
  /** no default gateway is known */
  | 'no-gateway'
  /** the gateway stays silent: it does not speak this protocol */
  | 'no-answer'
  /** the gateway answered with a result other than success; see the message */
  | 'gateway-refused'
  /** the gateway speaks another version of the protocol */
  | 'version-mismatch'
  /** an answer that is not what the protocol allows */
  | 'bad-answer'
  /** none of the protocols brought a mapping */
  | 'no-mapping';

/** A failure to map a port at the gateway. */
export class PortmapError extends TowpathError<PortmapErrorCode> {}
