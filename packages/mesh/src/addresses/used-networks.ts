import type { PartyId } from '@towpath/membership';
import { parseSubnet, type Subnet } from '@towpath/net';
import { type Commands, runChecked } from '../wireguard/command.ts';
import { requireLinux } from '../wireguard/wireguard-interface.ts';
import { conflictsWith, substituteNetwork, type UsedNetwork } from './virtual-network.ts';

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

/**
 * Returns the network in which this machine sees a party: `wanted`, or another one when an interface uses a part of it.
 * @param options.avoid networks of this machine's other parties.
 * @throws MeshError `platform-unsupported`, `program-missing`, `command-failed`.
 */
export async function networkHere(
  commands: Commands,
  options: { party: PartyId; wanted: Subnet; interfaceName: string; avoid: readonly Subnet[] },
  signal?: AbortSignal | undefined,
): Promise<string> {
  requireLinux();
  const { party, wanted, interfaceName, avoid } = options;
  const used = await usedNetworks(commands, signal);
  const own = `${wanted.address}/${wanted.prefixLength}`;
  if (conflictsWith(wanted, used, interfaceName).length === 0) return own;
  return substituteNetwork(party, avoid, used, interfaceName) ?? own;
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
