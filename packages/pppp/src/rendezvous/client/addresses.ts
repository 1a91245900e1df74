import { addressFamily, addressScope, type Endpoint, inSubnet, type Network, subnetOf } from '@towpath/net';

/** Whether an address that a server names may be punched: one host, and not this one unless the server is on it too. */
export function isPunchable({ address, port }: Endpoint, server: Endpoint): boolean {
  if (port === 0) return false;
  switch (addressScope(address)) {
    case 'global':
    case 'private':
    case 'shared':
    case 'link-local':
    case 'documentation':
      return true;
    case 'loopback':
      return addressScope(server.address) === 'loopback';
    default:
      return false;
  }
}

/** Returns the LAN address to report to servers, with the port of a socket; undefined when there is none. */
export function ownEndpoint(
  network: Network,
  local: Endpoint,
  localAddress: string | undefined,
  servers: readonly Endpoint[],
): Endpoint | undefined {
  const { port } = local;
  const bound = localAddress ?? local.address;
  if (addressFamily(bound) === 4 && addressScope(bound) !== 'unspecified') return { address: bound, port };
  const loopback = servers.every(({ address }) => addressScope(address) === 'loopback');
  const own = network.interfaces().find(({ family, internal }) => family === 4 && internal === loopback);
  return own === undefined ? undefined : { address: own.address, port };
}

/** True when the address is in one of the networks that this host is plugged into. */
export function isNeighbour(network: Network, address: string): boolean {
  return network.interfaces().some((own) => {
    const subnet = subnetOf(own.address, own.prefixLength);
    return subnet !== undefined && inSubnet(address, subnet);
  });
}
