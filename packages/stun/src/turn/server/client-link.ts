import type { Endpoint } from '@towpath/net';

/** What takes a client's ChannelData. */
export interface ChannelSink {
  fromClientChannel(data: Uint8Array): void;
}

/** Where a client is, and how to send to it. */
export interface ClientLink {
  readonly transport: 'udp' | 'tcp' | 'tls';
  readonly remote: Endpoint;
  /** The client's allocation, where its ChannelData goes without further look-up. */
  sink: ChannelSink | undefined;
  /** Sends a message or ChannelData as it is. Returns false when the client is too far behind to take it. */
  send(data: Uint8Array): boolean;
  /** The client is getting an allocation: what it sends from now on belongs to this link. */
  hold(): void;
  /** The allocation has ended. */
  release(): void;
  /**
   * What came is not answered: it is no message, or over a limit. A connection is closed, so that its client does not wait
   * for an answer; over UDP nothing happens.
   */
  reject(): void;
}

/** What the listeners hand to the server. */
export interface LinkReceiver {
  /** ChannelData of a client that has no allocation, or bytes that are neither STUN nor ChannelData. */
  onStray(reason: 'notPermitted' | 'malformed'): void;
  /** Something that starts like STUN. */
  onStun(link: ClientLink, data: Uint8Array): void;
  /** A client's connection has ended. */
  onGone(link: ClientLink): void;
}
