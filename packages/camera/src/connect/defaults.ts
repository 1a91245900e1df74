/** Names of the path kinds in logs, after the threads of the vendor's library. */
export const THREAD_NAMES: {
  readonly p2p: 'p2pConnectThread';
  readonly lan: 'lanConnectThread';
  readonly relay: 'relayConnectThread';
} = { p2p: 'p2pConnectThread', lan: 'lanConnectThread', relay: 'relayConnectThread' };

/**
 * In order of preference: 40611 is the port of the KJK230, the others were observed in the family or requested by
 * users.
 */
export const DEFAULT_PORTS: readonly number[] = [40611, 32100, 32108, 10000, 80, 57743];

/** All cameras of the KJK230 family have this UID; `devId` identifies a camera. docs/protocol/artemis.md, "Hotspot". */
export const DEFAULT_UID = 'LBCS-000000-CCCJJ';

/** UDP port of LAN searches. */
export const DEFAULT_SEARCH_PORT = 32_108;

/**
 * Time between two ports of one path kind, ms. RFC 8305 staggers by 250 ms because each of its attempts is a whole TCP
 * handshake; here an attempt is one datagram of 24 bytes.
 */
export const PORT_STAGGER_MS = 2;
