import { type Clock, errorCode, errorMessage, type Log, type Random } from '@towpath/core';
import type { Endpoint, Network } from '@towpath/net';
import { type GatewayServices, type MappingProtocolName, PortMapper, probeGateway } from '@towpath/portmap';

/** What the gateway does about ports. */
export interface PortMappingCheck {
  readonly services: GatewayServices;
  /** The mapping that was made, and removed again, when that was asked for. */
  readonly mapped?: { readonly via: MappingProtocolName; readonly external: Endpoint; readonly lifetimeMs: number };
  /** Why none could be made. */
  readonly error?: { readonly code: string; readonly message: string };
}

export interface PortMappingOptions {
  gateway: string | undefined;
  gatewayPort?: number;
  upnp: boolean;
  /** Also make a mapping, and remove it again. */
  map: boolean;
  limitMs: number;
  signal: AbortSignal;
}

/** A lease that would not be renewed is gone soon, should this process die before it removes it. */
const TRIAL_LIFETIME_MS = 120_000;

/** Asks the gateway which services it has, and maps a port for a moment when asked to. @throws the signal's reason */
export async function checkPortMapping(
  components: { network: Network; clock: Clock; random: Random; log: Log },
  { gateway, gatewayPort, upnp, map, limitMs, signal }: PortMappingOptions,
): Promise<PortMappingCheck> {
  const probing = probeGateway(components, { gateway, gatewayPort, upnp, timeoutMs: limitMs, signal });
  if (!map) return { services: await probing };
  const [services, mapped] = await Promise.all([probing, tryMapping()]);
  return { services, ...mapped };

  async function tryMapping(): Promise<Pick<PortMappingCheck, 'mapped' | 'error'>> {
    try {
      // The port is held while it is mapped, so that nobody else's becomes reachable.
      await using socket = await components.network.bindUdp({ signal, onMessage: () => {} });
      const mapper = new PortMapper(components, { gateway, gatewayPort, upnp, limitMs });
      const request = { protocol: 'udp', internalPort: socket.local.port, lifetimeMs: TRIAL_LIFETIME_MS } as const;
      await using mapping = await mapper.map(request, signal);
      return { mapped: mapping.current };
    } catch (error) {
      signal.throwIfAborted();
      return { error: { code: errorCode(error), message: errorMessage(error) } };
    }
  }
}
