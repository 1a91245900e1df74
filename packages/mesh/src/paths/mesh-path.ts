import type { Clock, PathDescription, PathKind } from '@towpath/core';
import { type Endpoint, formatEndpoint } from '@towpath/net';
import type { ConnectivityChecks } from '@towpath/stun';
import type { PeerPath, PlainEnds } from '../peer-path.ts';
import { transportEnds, transportId } from './peer-transports.ts';
import type { PathTransport } from './path-socket.ts';
import { SentHistory } from './sent-history.ts';

export interface MeshPathOptions {
  transport: PathTransport;
  remote: Endpoint;
  kind: PathKind;
  /** Round trip of the check that verified it, ms. */
  rttMs: number;
  /** Called with each datagram that was sent. */
  onSent(path: MeshPath, datagram: Uint8Array): void;
}

export interface MeshPathComponents {
  clock: Clock;
  checks: Pick<ConnectivityChecks, 'remotePreference'>;
}

/** Local preference (RFC 8445 §5.1.2.1) of sockets on the default route, and of those on a further uplink. */
const PREFERENCE = { default: 65_535, further: 32_767 } as const;

/** See {@link PREFERENCE}. */
export function localPreference({ furtherUplink = false }: Pick<PathTransport, 'furtherUplink'>): number {
  return furtherUplink ? PREFERENCE.further : PREFERENCE.default;
}

/** One verified path to a peer, over a path socket or a relayed address. It is also what the path set is told of it. */
export class MeshPath implements PeerPath, PathDescription {
  readonly id: string;
  readonly kind: PathKind;
  readonly family: 4 | 6;
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly transport: PathTransport;
  readonly rttMs: number;
  readonly sent: SentHistory = new SentHistory();
  plain: PlainEnds | undefined;
  readonly #clock: Clock;
  readonly #checks: MeshPathComponents['checks'];
  readonly #onSent: MeshPathOptions['onSent'];

  constructor({ clock, checks }: MeshPathComponents, { transport, remote, kind, rttMs, onSent }: MeshPathOptions) {
    this.#clock = clock;
    this.#checks = checks;
    this.id = transportId(transport, remote);
    this.kind = kind;
    this.family = transport.family;
    this.local = transport.local;
    this.remote = remote;
    this.transport = transport;
    this.rttMs = rttMs;
    this.#onSent = onSent;
  }

  get relay(): string | undefined {
    return this.transport.relay ?? (this.kind === 'relay' ? this.remote.address : undefined);
  }

  get isPlain(): boolean {
    return this.transport.isPlain || this.plain !== undefined;
  }

  send(datagram: Uint8Array): void {
    this.transport.send(datagram, this.remote);
    const nowMs = this.#clock.now();
    this.sent.add(nowMs, nowMs);
    this.#onSent(this, datagram);
  }

  /** It leaves, or arrives at the peer, over another uplink than the default route; the peer's checks may come later. */
  get furtherUplink(): boolean {
    const theirs = this.#checks.remotePreference(this.remote, this.transport.stun) ?? PREFERENCE.default;
    return this.transport.furtherUplink === true || theirs <= PREFERENCE.further;
  }

  get label(): string {
    return formatEndpoint(this.remote);
  }

  get ends(): [local: string, remote: string] {
    return transportEnds(this.transport, this.remote, this.kind === 'relay');
  }
}

/** Names a pair as a person reads it. */
export function labelOf(transport: PathTransport, remote: Endpoint): string {
  return transport.relay ? `${formatEndpoint(remote)} from ${transport.relay}` : formatEndpoint(remote);
}
