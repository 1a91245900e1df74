import { backoff, type Clock, errorMessage, Link, type Log, type Random, type TowpathError } from '@towpath/core';
import { type Endpoint, formatEndpoint, type Network } from '@towpath/net';
import type { StreamCipher } from '../../cipher/stream-cipher.ts';
import { PpppError } from '../../pppp-error.ts';
import { FramedConnection } from '../../tcp/framed-connection.ts';

/** A lost connection to a server is reopened after this time, ms. */
const AGAIN_MS = { baseMs: 1_000, maxMs: 30_000 } as const;

export interface ServerConnectionOptions {
  network: Network;
  clock: Clock;
  random: Random;
  log: Log;
  server: Endpoint;
  localAddress: string | undefined;
  cipher: StreamCipher | undefined;
  /** A connection is open. */
  onUp(connection: FramedConnection): void;
  onDatagram(datagram: Uint8Array): void;
}

/** An open connection, and its end. */
export interface ServerConnection {
  readonly connection: FramedConnection;
  readonly lost: Promise<TowpathError>;
}

/** Keeps a connection to a server open. */
export function keepServerConnection(options: ServerConnectionOptions): Link<ServerConnection> {
  const { clock, random, log, server, onUp } = options;
  const link: Link<ServerConnection> = new Link(
    { clock, log },
    {
      target: formatEndpoint(server),
      connect: ({ signal }) => connect(options, signal),
      watch: ({ lost }) => lost,
      release: ({ connection }) => connection.destroy(),
      first: { delaysMs: () => backoff({ ...AGAIN_MS, random }) },
    },
  );
  link.events.on('up', ({ path }) => onUp(path.connection));
  link.start();
  return link;
}

function connect(options: ServerConnectionOptions, signal: AbortSignal): Promise<ServerConnection> {
  const { network, clock, server, localAddress, cipher, onDatagram } = options;
  return new Promise((resolve, reject) => {
    const lost = Promise.withResolvers<TowpathError>();
    const onAbort = () => {
      connection.destroy();
      reject(signal.reason);
    };
    const settled = () => signal.removeEventListener('abort', onAbort);
    const connection: FramedConnection = new FramedConnection(
      { network, clock },
      {
        to: server,
        localAddress,
        cipher,
        onDatagram,
        onOpen: () => {
          settled();
          resolve({ connection, lost: lost.promise });
        },
        onLost: (cause) => {
          settled();
          const why = `The connection to ${formatEndpoint(server)} was lost: ${errorMessage(cause)}`;
          const error = new PpppError('server-unreachable', why, { target: formatEndpoint(server), cause });
          reject(error);
          lost.resolve(error);
        },
      },
    );
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
