import { backoff, type Clock, errorMessage, Link, type Log, type Random, type TowpathError } from '@towpath/core';
import { type Endpoint, formatEndpoint, type Network } from '@towpath/net';
import type { StreamCipher } from '../cipher/stream-cipher.ts';
import { PpppError } from '../pppp-error.ts';
import { TcpLine } from './tcp-line.ts';

/** A lost connection to a server is opened again after so long, ms. */
const AGAIN_MS = { baseMs: 1_000, maxMs: 30_000 } as const;

export interface ServerLineOptions {
  network: Network;
  clock: Clock;
  random: Random;
  log: Log;
  server: Endpoint;
  localAddress: string | undefined;
  cipher: StreamCipher | undefined;
  /** There is a connection, the first or another one. */
  onUp(line: TcpLine): void;
  onDatagram(datagram: Uint8Array): void;
}

/** An open line, and its end. */
export interface ServerTalk {
  readonly line: TcpLine;
  readonly lost: Promise<TowpathError>;
}

/** Keeps a connection to a server open for as long as the link lives. */
export function keepServerLine(options: ServerLineOptions): Link<ServerTalk> {
  const { clock, random, log, server, onUp } = options;
  const link: Link<ServerTalk> = new Link({
    target: formatEndpoint(server),
    clock,
    log,
    connect: ({ signal }) => connect(options, signal),
    watch: ({ lost }) => lost,
    release: ({ line }) => line.destroy(),
    first: { delaysMs: () => backoff({ ...AGAIN_MS, random }) },
  });
  link.events.on('up', ({ path }) => onUp(path.line));
  link.start();
  return link;
}

function connect(options: ServerLineOptions, signal: AbortSignal): Promise<ServerTalk> {
  const { network, clock, server, localAddress, cipher, onDatagram } = options;
  return new Promise((resolve, reject) => {
    const lost = Promise.withResolvers<TowpathError>();
    const onAbort = () => {
      line.destroy();
      reject(signal.reason);
    };
    const settled = () => signal.removeEventListener('abort', onAbort);
    const line: TcpLine = new TcpLine({
      network,
      clock,
      to: server,
      ...(localAddress === undefined ? {} : { localAddress }),
      cipher,
      onDatagram,
      onOpen: () => {
        settled();
        resolve({ line, lost: lost.promise });
      },
      onLost: (cause) => {
        settled();
        const why = `The connection to ${formatEndpoint(server)} is lost: ${errorMessage(cause)}`;
        const error = new PpppError('server-unreachable', why, { target: formatEndpoint(server), cause });
        reject(error);
        lost.resolve(error);
      },
    });
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
