/** Exit codes of the process. Documented in `towpath --help`. */
export const ExitCode = {
  Ok: 0,
  /** Something failed that no other code names. */
  Failed: 1,
  /** The command line was wrong. */
  Usage: 2,
  /** The camera or peer could not be reached, or was lost. */
  Unreachable: 3,
  /** It was reached and refused the request. */
  Refused: 4,
  /** Local error: a port, a file, a permission. */
  Local: 5,
  /** Verification of a control server's data failed: forged, rolled back, or forked. None of it was applied. */
  Untrusted: 6,
  /** `towpath why`: reached, through a relay. */
  Relayed: 10,
  /** `towpath why`: not reached. */
  NotReached: 20,
  /** Ended by Ctrl-C or a termination signal. */
  Interrupted: 130,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];
