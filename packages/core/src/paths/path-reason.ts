/**
 * Why a path was chosen, left or refused. The codes are stable: logs, `status` and `why` print them, and callers branch
 * on them.
 */
export const PathReason = {
  /** It is the first verified path. */
  first: 'first',
  /** A direct path replaces a relayed one. */
  direct: 'direct',
  /** It is faster than the path before, by more than the hysteresis. */
  faster: 'faster',
  /** Both ends have agreed on another relay. */
  agreed: 'agreed',
  /** The remote end, which decides between direct paths, uses this one. */
  nominated: 'nominated',
  /** The path before was declared dead by its probes. */
  probesLost: 'probes-lost',
  /** The path before answered its probes and lost the data. */
  dataLost: 'data-lost',
  /** The path before was closed: by the remote end, by its transport, or by whoever used it. */
  closed: 'closed',
  /** The policy of the target no longer allows the path before. */
  policy: 'policy',
  /** The candidate of the path was withdrawn. */
  withdrawn: 'withdrawn',
  /** The set has a better current path and all the standbys that it keeps. */
  surplus: 'surplus',
  /** Probes of the current path were missed; data is sent on the standby as well. */
  suspect: 'suspect',
  /** An interface, an address or the default route has changed. */
  networkChanged: 'network-changed',
  /** The machine was asleep, or its clock was changed. */
  clockJumped: 'clock-jumped',
  /** The connection to the signalling server is back. */
  signallingBack: 'signalling-back',
  /** The remote end sent new candidates. */
  remoteCandidates: 'remote-candidates',
  /** The target was woken, or was seen to be awake. */
  targetAwake: 'target-awake',
  /** A person or a program asked for it. */
  requested: 'requested',
  /** The link or the set was closed. */
  shutdown: 'shutdown',
} as const;
export type PathReason = (typeof PathReason)[keyof typeof PathReason];
