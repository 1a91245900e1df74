import type { Endpoint } from '@towpath/net';
import type { RemoteOptions } from './options.ts';

/** Over what a relay is reached; `auto`: UDP, and TCP where UDP does not leave. */
export type RelayTransport = 'udp' | 'tcp' | 'auto';

export interface ConnectByRelayOptions extends RemoteOptions {
  /** Base ports of relays. @default those that the servers name */
  relays?: readonly Endpoint[];
  /** @default 'auto' */
  transport?: RelayTransport;
  /** With `auto`: TCP joins in when UDP has brought no answer at all for so long, in ms. @default 300 */
  tcpAfterMs?: number;
}

/** One attempt over one transport. */
export interface RelayAttemptOptions extends RemoteOptions {
  relays: readonly Endpoint[] | undefined;
  secret: string | undefined;
  timeoutMs: number;
  serverPatienceMs: number;
  signal: AbortSignal;
  /** Something came from a server or relay. */
  onHeard?: () => void;
}
