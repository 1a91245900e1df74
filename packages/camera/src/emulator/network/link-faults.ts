/** What happens to the datagrams of one direction. Every field may be changed at any time. */
export interface LinkFaults {
  /** Share of datagrams that are lost, 0–1. */
  lossRatio: number;
  /** Share of datagrams that arrive twice, 0–1. */
  duplicateRatio: number;
  /** Share of datagrams that are overtaken by later ones, 0–1. */
  reorderRatio: number;
  /** Delay of every datagram, ms. */
  delayMs: number;
  /** Up to this much more, at random and without changing the order, ms. */
  jitterMs: number;
  /** Bandwidth, bytes per second; 0: no limit. */
  bytesPerSecond: number;
  /** Every so many ms the line pauses, as Wi-Fi does when it saves power; 0: never. */
  pauseEveryMs: number;
  /** How long such a pause holds everything back, ms. Real ones take 100 to 200. */
  pauseMs: number;
}

/** Nothing happens. */
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
