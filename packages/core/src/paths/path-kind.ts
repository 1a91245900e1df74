/** How a path reaches its target: inside the local network, directly across NATs, or through a relay. */
export type PathKind = 'lan' | 'p2p' | 'relay';
