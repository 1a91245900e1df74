/** Indices that one acknowledgement carries at most when we send it (spec §7.2, the largest seen). */
export const ACK_BATCH = 17;

/** How far ahead of the next expected index a packet is kept (spec §7.4, recommended). */
export const RECEIVE_WINDOW = 1024;
