import { networkInterfaces } from 'node:os';
import { broadcastAddress } from '../address/subnet.ts';
import type { InterfaceAddress } from '../network.ts';

/** The addresses of this machine's interfaces at this moment. */
export function nodeInterfaces(): InterfaceAddress[] {
  const found: InterfaceAddress[] = [];
  for (const [name, addresses = []] of Object.entries(networkInterfaces())) {
    for (const { address, family, cidr, internal, ...rest } of addresses) {
      const prefixLength = Number(cidr?.split('/')[1] ?? (family === 'IPv4' ? 32 : 128));
      if (family === 'IPv4') {
        const broadcast = internal ? undefined : broadcastAddress(address, prefixLength);
        found.push({ name, address, family: 4, prefixLength, broadcast, internal });
        continue;
      }
      // Only with its zone can a link-local address be bound or sent to; Windows counts zones, others name them.
      const zone = process.platform === 'win32' ? String('scopeid' in rest ? rest.scopeid : 0) : name;
      const scoped = address.startsWith('fe80:') ? `${address}%${zone}` : address;
      found.push({ name, address: scoped, family: 6, prefixLength, internal });
    }
  }
  return found;
}
