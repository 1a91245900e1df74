import { addressScope, isLoopback, parseEndpoint } from '@towpath/net';
import type { Relay } from '../control-plane.ts';

const DEFAULT_PORT = 3_478;

/** Scopes of addresses that are no other host's. */
const NOT_A_HOST: ReadonlySet<string | undefined> = new Set(['loopback', 'unspecified', 'multicast', 'broadcast']);

/**
 * Returns the relays of a server's list that this node may send to, each without its other addresses. Those of this machine
 * itself are left out, because a server could make this node send to its own local services; a server on this machine may
 * name them.
 * @param server address of the server
 */
export function usableRelays(relays: readonly Relay[], server: string | undefined): Relay[] {
  const isOwn = server === undefined || isThisMachine(hostOf(server));
  return relays.flatMap((relay) => {
    const urls = relay.urls.filter((url) => isUsable(hostOf(url), isOwn));
    return urls.length === 0 ? [] : [urls.length === relay.urls.length ? relay : { ...relay, urls }];
  });
}

function isUsable(host: string | undefined, isOwn: boolean): boolean {
  if (host === undefined) return false;
  return isThisMachine(host) ? isOwn : !NOT_A_HOST.has(addressScope(host));
}

function isThisMachine(host: string | undefined): boolean {
  return host !== undefined && (isLoopback(host) || /^(.*\.)?localhost\.?$/i.test(host));
}

/** The host of `https://HOST:PORT/…`, `turn:HOST:PORT?…` or `HOST:PORT`. */
function hostOf(url: string): string | undefined {
  const authority = /^(?:[a-z]+:(?:\/\/)?)?([^/?]+)/i.exec(url)?.[1] ?? '';
  const read = parseEndpoint(authority, DEFAULT_PORT);
  return read.ok ? read.endpoint.address : undefined;
}
