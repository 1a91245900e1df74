import { TowpathError } from '@towpath/core';

export type PpppErrorCode =
  /** nobody answered within the time limit */
  | 'no-answer'
  /** a device answered, but with another UID */
  | 'wrong-device'
  /** the host says that nothing listens there */
  | 'refused'
  /** a socket could not be bound or failed */
  | 'socket-failed'
  /** the call was given something that cannot be done */
  | 'bad-argument';

/** A PPPP procedure did not succeed. */
export class PpppError extends TowpathError<PpppErrorCode> {}
