/**
 * Datagram sizes at which a Towpath server answers a request completely at once: the request has as many bytes as all
 * datagrams that it causes (see `AdmissionLimits`). Shorter requests work too, after some retransmissions.
 * For `encodeMessage(message, size)`; other servers ignore the padding.
 */
export const PaidInFullBytes = {
  /** HELLO_ACK */
  HELLO: 20,
  /** DEV_LGN_ACK, and six invitations that may come before the next login */
  DEV_LGN: 152,
  /** P2P_REQ_ACK, and two PUNCH_TO to each side; P2P_REQ_DSK as well */
  P2P_REQ: 88,
  /** a list of eight relays; LIST_REQ1 and LIST_REQ_DSK as well */
  LIST_REQ: 136,
  /** RLY_REQ_ACK, and RLY_TO to each side; with a secret as well */
  RLY_REQ: 68,
  /** RLY_PORT_ACK */
  RLY_PORT: 12,
} as const;
