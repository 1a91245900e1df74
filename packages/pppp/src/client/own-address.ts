import type { Endpoint, Network } from '@towpath/net';

/**
 * True when `to` is a socket of this host. Private networks are alike: the device's LAN address may be ours here, and a
 * punch that returns to its sender would be answered endlessly.
 */
export function isOwnSocket(network: Network, local: Endpoint, { address, port }: Endpoint): boolean {
  if (port !== local.port) return false;
  return address === local.address || network.interfaces().some((own) => own.address === address);
}
