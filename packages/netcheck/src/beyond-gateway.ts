import { addressScope, type Network } from '@towpath/net';
import type { PortMappingCheck } from './port-mapping.ts';
import type { BeyondGateway, FamilyReport } from './report.ts';
import type { ServerCheck } from './server-check.ts';

interface Measured {
  gateway: string | undefined;
  portMapping: PortMappingCheck | undefined;
  ipv4: FamilyReport;
  servers: readonly ServerCheck[];
  signal: AbortSignal;
}

/**
 * Compares the gateway's external address with the one that servers see. They are compared only when the packets to
 * those servers went through that gateway: with a VPN, several uplinks or a second router they may not have.
 */
export async function beyondGateway(network: Network, measured: Measured): Promise<BeyondGateway | undefined> {
  const { gateway, portMapping, ipv4, signal } = measured;
  const outside = portMapping?.mapped?.external.address ?? portMapping?.services.natPmp.externalAddress;
  const { external } = ipv4;
  const server = askedServer(measured);
  if (outside === undefined || external === undefined || gateway === undefined || server === undefined)
    return undefined;
  const route = ipv4.nat?.route ?? (await network.defaultRoute({ family: 4, to: server, signal }));
  if (route?.gateway !== gateway) return undefined;
  if (outside === external.address) return 'no-nat';
  switch (addressScope(outside)) {
    case 'shared':
      return 'provider-nat';
    case 'private':
    // DS-Lite gives the gateway an address of 192.0.0.0/29 (RFC 6333).
    case 'reserved':
      return 'another-nat';
    default:
      return 'unclear';
  }
}

/** The server whose answer names the external address. */
function askedServer({ ipv4, servers }: Measured): string | undefined {
  const answered = ipv4.nat?.servers.find(({ mapped }) => mapped !== undefined);
  if (answered !== undefined) return answered.server.address;
  const transports = servers.flatMap((check) => check.transports);
  return transports.find(({ family, mapped }) => family === 4 && mapped !== undefined)?.endpoint.address;
}
