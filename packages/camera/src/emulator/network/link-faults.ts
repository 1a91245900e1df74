/** Faults of the datagrams of one direction. Every field may be changed at any time. */
export interface LinkFaults {
  /** Share of datagrams that are lost, 0–1. */
  lossRatio: number;
  /** Share of datagrams that arrive twice, 0–1. */
  duplicateRatio: number;
  /** Share of datagrams that later ones overtake, 0–1. */
  reorderRatio: number;
  /** Delay of every datagram, ms. */
  delayMs: number;
  /** Random additional delay up to this, without reordering, ms. */
  jitterMs: number;
  /** Bandwidth, bytes per second; 0: no limit. */
  bytesPerSecond: number;
  /** Interval of pauses of the link, as with Wi-Fi power saving, ms; 0: none. */
  pauseEveryMs: number;
  /** Duration of such a pause, ms. Observed: 100 to 200. */
  pauseMs: number;
}

/** No faults. */
export function noLinkFaults(): LinkFaults {
  return {
    lossRatio: 0,
    duplicateRatio: 0,
    reorderRatio: 0,
    delayMs: 0,
    jitterMs: 0,
    bytesPerSecond: 0,
    pauseEveryMs: 0,
    pauseMs: 0,
  };
}
