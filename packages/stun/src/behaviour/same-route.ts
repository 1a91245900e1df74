import type { DefaultRoute, Endpoint, Network } from '@towpath/net';

/** Servers whose answers can be compared, and those that are reached another way. */
export interface SameRoute {
  /** The route that packets to `servers` take; `undefined` where the system names none. */
  readonly route: DefaultRoute | undefined;
  readonly servers: readonly Endpoint[];
  readonly others: readonly { readonly server: Endpoint; readonly route: DefaultRoute | undefined }[];
}

/**
 * Chooses the servers that are reached by one route: answers that came through different interfaces or routers (VPN,
 * several uplinks) describe different NATs. The default route is preferred, then the first server's.
 */
export async function onSameRoute(
  network: Network,
  servers: readonly Endpoint[],
  from: string | undefined,
  signal: AbortSignal | undefined,
): Promise<SameRoute> {
  const family = servers[0]?.address.includes(':') ? 6 : 4;
  const routes = await Promise.all(servers.map(({ address }) => routeTo(network, address, from, signal)));
  const preferred = await network.defaultRoute({ family, from, signal });
  const at = routes.findIndex((route) => route !== undefined && isSameRoute(route, preferred));
  const route = routes[at < 0 ? routes.findIndex((one) => one !== undefined) : at];
  const fits = (one: DefaultRoute | undefined) => route === undefined || isSameRoute(one, route);
  return {
    route,
    servers: servers.filter((_server, index) => fits(routes[index])),
    others: servers.flatMap((server, index) => (fits(routes[index]) ? [] : [{ server, route: routes[index] }])),
  };
}

/** Returns the route that packets to `address` take; this host's own addresses share one. */
export async function routeTo(
  network: Network,
  address: string,
  from: string | undefined,
  signal: AbortSignal | undefined,
): Promise<DefaultRoute | undefined> {
  const family = address.includes(':') ? 6 : 4;
  const route = await network.defaultRoute({ family, to: address, from, signal });
  const own = route !== undefined && (route.source === address || route.interface === 'lo');
  return own ? { ...route, interface: 'lo', gateway: undefined } : route;
}

/** Returns whether packets leave from the same interface and address to the same router. */
export function isSameRoute(a: DefaultRoute | undefined, b: DefaultRoute | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  if (a.interface === 'lo' && b.interface === 'lo') return true;
  return a.interface === b.interface && a.source === b.source && a.gateway === b.gateway;
}
