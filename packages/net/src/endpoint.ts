import type { Endpoint } from './network.ts';

/** `192.0.2.1:40611`, `[2001:db8::1]:40611`. */
export function formatEndpoint({ address, port }: Endpoint): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** True when both name the same address text and port. */
export function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return a.port === b.port && a.address === b.address;
}
