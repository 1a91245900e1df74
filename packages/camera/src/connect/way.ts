/** How a camera is reached. */
export type ConnectionMode = 'p2p' | 'lan' | 'relay';

/** The names that the three ways have in reports. */
export type WayName = 'p2pConnectThread' | 'lanConnectThread' | 'relayConnectThread';

export const WAY_NAMES: Readonly<Record<ConnectionMode, WayName>> = {
  p2p: 'p2pConnectThread',
  lan: 'lanConnectThread',
  relay: 'relayConnectThread',
};

/** In order of preference: 40611 is the KJK230's, the others were seen in the family or asked for by users. */
export const DEFAULT_DESTINATION_PORTS: readonly number[] = [40611, 32100, 32108, 10000, 80, 57743];

/** All cameras of the KJK230 kind carry this UID; `devId` tells them apart. spec/artemis.md §13. */
export const DEFAULT_UID = 'LBCS-000000-CCCJJ';

/**
 * Time between two ports of one way, ms. RFC 8305 staggers by 250 ms because each of its attempts is a whole TCP
 * handshake; here it is one datagram of 24 bytes, and six ports are tried within a Wi-Fi frame's time.
 */
export const PORT_STAGGER_MS = 2;
