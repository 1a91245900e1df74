import {
  type Endpoint,
  formatEndpoint,
  type Network,
  type TcpConnection,
  type TcpHandlers,
  type TlsClientOptions,
} from '@towpath/net';
import type { Clock, Random } from '@towpath/core';
import type { LongTermAuth } from '../../client/long-term-auth.ts';
import { requestWithAuth } from '../../client/stun-client.ts';
import { StunError } from '../../client/stun-error.ts';
import { StunTransactions } from '../../client/stun-transactions.ts';
import * as attr from '../../message/attributes.ts';
import { MessageClass, Method } from '../../message/header.ts';
import { StreamFramer } from '../../message/stream-framer.ts';
import { decodeStun } from '../../message/stun-message.ts';

export interface DataConnectionParts {
  network: Network;
  clock: Clock;
  random: Random;
  auth: LongTermAuth;
  server: Endpoint;
  tls: TlsClientOptions | undefined;
  connectionId: number;
  peer: Endpoint;
  handlers: TcpHandlers;
  signal: AbortSignal;
}

/** Opens a data connection to the server and binds it to a peer's connection (RFC 6062 §4.3, §4.4). */
export async function openDataConnection(parts: DataConnectionParts): Promise<TcpConnection> {
  const { network, clock, random, auth, server, handlers, peer, signal } = parts;
  let bound = false;
  const transactions = new StunTransactions({
    clock,
    random,
    reliable: true,
    send: (data) => {
      connection.write(data);
    },
  });
  const framer = new StreamFramer((frame) => {
    const result = decodeStun(frame);
    // What follows the answer is the peer's data; a challenge is followed by another answer.
    if (result.ok && result.message.method === Method.ConnectionBind && result.message.class === MessageClass.Success)
      framer.stop();
    if (result.ok) transactions.handle(result.message, server);
  });
  const closed = (error?: Error) => {
    const target = formatEndpoint(server);
    if (bound) handlers.onClose?.(error);
    else
      transactions.close(
        new StunError('stun-closed', `${target} closed the data connection to ${formatEndpoint(peer)}.`, {
          target,
          cause: error,
        }),
      );
  };
  const connection = await network.connectTcp(server, {
    tls: parts.tls,
    signal,
    onData: (data) => {
      if (bound) handlers.onData(data);
      else framer.push(data);
    },
    onDrain: () => {
      if (bound) handlers.onDrain?.();
    },
    onClose: closed,
  });
  try {
    await requestWithAuth(transactions, auth, server, {
      method: Method.ConnectionBind,
      signal,
      write: (writer) => writer.add(attr.connectionId, parts.connectionId),
    });
  } catch (error) {
    connection.destroy();
    throw error;
  }
  bound = true;
  const early = framer.rest();
  if (early.length > 0) handlers.onData(early);
  return new RelayedTcpConnection(connection, peer);
}

/** A connection to a peer through the relay: what it says of its ends is what peers see. */
class RelayedTcpConnection implements TcpConnection {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly #connection: TcpConnection;

  constructor(connection: TcpConnection, peer: Endpoint) {
    this.#connection = connection;
    this.local = connection.local;
    this.remote = peer;
  }

  get bufferedBytes(): number {
    return this.#connection.bufferedBytes;
  }

  write(data: Uint8Array): boolean {
    return this.#connection.write(data);
  }

  setPaused(paused: boolean): void {
    this.#connection.setPaused(paused);
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  destroy(): void {
    this.#connection.destroy();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
