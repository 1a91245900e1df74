/**
 * Most indices of one sent acknowledgement (docs/protocol/pppp.md, "Acknowledgement": the largest observed).
 */
export const ACK_BATCH = 17;

/** How far ahead of the next expected index a packet is kept (docs/protocol/pppp.md, "Receiving", recommended). */
export const RECEIVE_WINDOW = 1024;
