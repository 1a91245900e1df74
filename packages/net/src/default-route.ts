/** How packets leave this host for some destination. */
export interface DefaultRoute {
  readonly family: 4 | 6;
  /** Name of the interface that they leave from, `wlan0`. */
  readonly interface: string;
  /** Local address that they leave from. */
  readonly source: string;
  /** Next router; `undefined` on a point-to-point link (VPN) and for destinations in the interface's own subnet. */
  readonly gateway: string | undefined;
}

export interface DefaultRouteOptions {
  /** @default 4 */
  family?: 4 | 6 | undefined;
  /**
   * IP address of the destination; the route to it may differ from the default one (VPN, several uplinks).
   * @default any public address
   */
  to?: string | undefined;
  /** Local address that a socket is bound to: the route of its interface counts, not the default one. */
  from?: string | undefined;
  signal?: AbortSignal | undefined;
}
