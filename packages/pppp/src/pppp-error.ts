import { TowpathError } from '@towpath/core';

export type PpppErrorCode =
  /** nobody answered within the time limit */
  | 'no-answer'
  /** a device answered, but with another UID */
  | 'wrong-device'
  /** the host says that nothing listens there */
  | 'refused'
  /** no rendezvous server answered */
  | 'server-unreachable'
  /** the servers say that the UID or its check code is wrong */
  | 'wrong-uid'
  /** the servers do not serve devices of this kind (prefix) */
  | 'unknown-device'
  /** the servers say that the device's secret (DSK) is wrong or missing */
  | 'wrong-secret'
  /** the device is not logged in at any server */
  | 'device-offline'
  /** the servers name no relay, or refuse those that there are */
  | 'no-relay'
  /** no relay answered, or none had room */
  | 'relay-unreachable'
  /** a socket could not be bound or failed */
  | 'socket-failed'
  /** the call was given something that cannot be done */
  | 'bad-argument';

/** A PPPP procedure did not succeed. */
export class PpppError extends TowpathError<PpppErrorCode> {}
