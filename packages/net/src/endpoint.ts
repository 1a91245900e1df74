/** An IP address and a port. `address` is in text form, IPv6 without brackets (`fe80::1%eth0` keeps its zone). */
export interface Endpoint {
  readonly address: string;
  /** 1…65535; 0 only where a call lets the system choose. */
  readonly port: number;
}

/** `192.0.2.1:40611`, `[2001:db8::1]:40611`. */
export function formatEndpoint({ address, port }: Endpoint): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** True when both name the same address text and port. */
export function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return a.port === b.port && a.address === b.address;
}
