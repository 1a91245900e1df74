import { type Clock, errorCode, errorMessage, type Log, type Random } from '@towpath/core';
import type { Endpoint, Network } from '@towpath/net';
import { type GatewayServices, type MappingProtocolName, PortMapper, probeGateway } from '@towpath/portmap';

/** Port mapping services of the gateway. */
export interface PortMappingCheck {
  readonly services: GatewayServices;
  /** The test mapping, if requested. */
  readonly mapped?: {
    readonly via: MappingProtocolName;
    readonly external: Endpoint;
    readonly lifetimeMs: number;
    /** The gateway confirmed that it was deleted; otherwise it ends with its lifetime. */
    readonly deleted: boolean;
  };
  /** Why the test mapping failed. */
  readonly error?: { readonly code: string; readonly message: string };
}

export interface PortMappingOptions {
  gateway: string | undefined;
  gatewayPort?: number | undefined;
  upnp: boolean;
  /** Address that packets to the gateway leave from; the one in the gateway's network if absent. */
  localAddress: string | undefined;
  /** Also create a mapping and delete it. */
  map: boolean;
  limitMs: number;
  signal: AbortSignal;
}

/** Short lease, so that the mapping expires if this process ends before it deletes it. */
const TRIAL_LIFETIME_MS = 120_000;

/** Queries the gateway's services and, if requested, creates and deletes a test mapping. @throws the signal's reason */
export async function checkPortMapping(
  components: { network: Network; clock: Clock; random: Random; log: Log },
  { gateway, gatewayPort, upnp, map, localAddress, limitMs, signal }: PortMappingOptions,
): Promise<PortMappingCheck> {
  const probing = probeGateway(components, {
    gateway,
    gatewayPort,
    upnp,
    localAddress,
    timeoutMs: limitMs,
    signal,
  });
  if (!map) return { services: await probing };
  const [services, mapped] = await Promise.all([probing, tryMapping()]);
  return { services, ...mapped };

  async function tryMapping(): Promise<Pick<PortMappingCheck, 'mapped' | 'error'>> {
    try {
      // The port stays bound while it is mapped, so that no other program becomes reachable.
      await using socket = await components.network.bindUdp({ signal, onMessage: () => {} });
      const mapper = new PortMapper(components, { gateway, gatewayPort, upnp, limitMs });
      const request = { protocol: 'udp', internalPort: socket.local.port, lifetimeMs: TRIAL_LIFETIME_MS } as const;
      await using mapping = await mapper.map(request, signal);
      const granted = mapping.current;
      const deleted = await mapping.close();
      const { via, external, lifetimeMs } = granted;
      return { mapped: { via, external, lifetimeMs, deleted } };
    } catch (error) {
      signal.throwIfAborted();
      return { error: { code: errorCode(error), message: errorMessage(error) } };
    }
  }
}
