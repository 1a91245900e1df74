import { addressFamily, isUnspecified, type Network } from '@towpath/net';

/** Whether this host has an address. */
export function isOwnAddress(network: Pick<Network, 'interfaces'>, address: string): boolean {
  return network.interfaces().some((each) => each.address === address);
}

/**
 * Returns the address that the sockets of a server are bound to. For `0.0.0.0` or `::` that is the public address where this host has
 * it, but sends from another one by itself: answers would leave with that, and clients drop them.
 */
export async function boundAddress(
  network: Pick<Network, 'interfaces' | 'defaultRoute'>,
  { address, publicAddress }: { address: string; publicAddress: string },
): Promise<string> {
  if (!isUnspecified(address)) return address;
  const family = addressFamily(address) ?? 4;
  const addresses = network.interfaces().filter((each) => each.family === family);
  const own = addresses.find((each) => each.address === publicAddress);
  if (own === undefined) return address;
  // The system sends from the first address of the device that packets leave by.
  const first = addresses.find(({ name }) => deviceOf(name) === deviceOf(own.name));
  if (first === own && !own.internal) return address;
  const route = await network.defaultRoute({ family });
  return route?.source === publicAddress ? address : publicAddress;
}

/** Addresses with a label have the device's name before it: `eth0:1`. */
function deviceOf(name: string): string {
  return name.split(':', 1)[0]!;
}
