import { parseSubnet } from '@towpath/net';
import { type Commands, runChecked } from '../wireguard/command.ts';
import type { UsedNetwork } from './virtual-network.ts';

/** A machine with more routes is a router of the internet; the rest is not looked at. */
const MAX_ROUTES = 10_000;

/**
 * Returns the IPv4 networks that the machine's addresses and routes use.
 * @throws MeshError `program-missing` or `command-failed`.
 */
export async function usedNetworks(commands: Commands, signal?: AbortSignal | undefined): Promise<UsedNetwork[]> {
  const text = await runChecked(commands, 'ip', ['-4', '-json', 'route', 'show', 'table', 'all'], { signal });
  return decodeRoutes(text);
}

/** Reads `ip -json route`; entries of an unknown form are left out. Never throws. */
export function decodeRoutes(text: string): UsedNetwork[] {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch {
    // No routes at all print nothing.
    return [];
  }
  if (!Array.isArray(list)) return [];
  return list.slice(0, MAX_ROUTES).flatMap((route: unknown) => {
    if (typeof route !== 'object' || route === null) return [];
    const destination: unknown = Reflect.get(route, 'dst');
    const interfaceName: unknown = Reflect.get(route, 'dev');
    if (typeof destination !== 'string' || typeof interfaceName !== 'string') return [];
    const subnet = parseSubnet(destination.includes('/') ? destination : `${destination}/32`);
    return subnet === undefined ? [] : [{ subnet, interfaceName }];
  });
}
