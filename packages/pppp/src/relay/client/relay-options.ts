import type { Endpoint } from '@towpath/net';
import type { RemoteAttemptOptions, RemoteOptions } from '../../rendezvous/client/options.ts';

/** Transport to a relay; `auto`: UDP, and TCP where outbound UDP is blocked. */
export type RelayTransport = 'udp' | 'tcp' | 'auto';

export interface ConnectByRelayOptions extends RemoteOptions {
  /** Base ports of relays. @default those that the servers list */
  relays?: readonly Endpoint[];
  /** @default 'auto' */
  transport?: RelayTransport;
  /** With `auto`: TCP is tried as well when UDP had no answer for this time, ms. @default 300 */
  tcpAfterMs?: number;
}

/** One attempt over one transport. */
export interface RelayAttemptOptions extends RemoteAttemptOptions {
  relays: readonly Endpoint[] | undefined;
  secret: string | undefined;
  timeoutMs: number;
  serverLimitMs: number;
  signal: AbortSignal;
  /** A message of a server or relay arrived. */
  onHeard?: () => void;
}
