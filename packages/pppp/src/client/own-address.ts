import type { Endpoint, Network } from '@towpath/net';

/**
 * True when `to` is a socket of ours. Private networks look alike: the device's LAN address may be our own here, and a
 * punch that comes back to its sender would be answered for ever.
 */
export function isOwnSocket(network: Network, local: Endpoint, { address, port }: Endpoint): boolean {
  if (port !== local.port) return false;
  return address === local.address || network.interfaces().some((own) => own.address === address);
}
