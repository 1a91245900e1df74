/** What the process says when it ends. Documented in `towpath --help`. */
export const ExitCode = {
  Ok: 0,
  /** Something failed that no other code names. */
  Failed: 1,
  /** The command line was wrong. */
  Usage: 2,
  /** The camera or peer could not be reached, or was lost. */
  Unreachable: 3,
  /** It was reached and said no. */
  Refused: 4,
  /** This machine said no: a port, a file, a permission. */
  Local: 5,
  /** What a control server says of a party does not hold: forged, old, or another history. None of it was applied. */
  Untrusted: 6,
  /** Ended by Ctrl-C or a termination signal. */
  Interrupted: 130,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];
