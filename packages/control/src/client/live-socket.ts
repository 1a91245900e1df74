import { type Clock, deadlineInterval } from '@towpath/core';
import { WebSocket } from 'ws';
import { ControlError } from '../control-error.ts';
import { parseServerMessage, type ServerMessage } from '../wire/messages.ts';
import { unreachable } from './http-request.ts';
import type { LiveConnection } from './transport.ts';

/** The largest message of a server: a page of a log, with room. */
const MAX_MESSAGE_BYTES = 2_097_152;
/** Servers ping every 15 s; after two missed pings the connection is dead. */
const SILENT_AFTER_MS = 40_000;
const CHECK_EVERY_MS = 10_000;

/**
 * Opens the WebSocket of a node.
 * @throws ControlError with the server's own code when it refuses; `server-unavailable`; the signal's reason.
 */
export function openLiveSocket(
  url: URL,
  options: {
    headers: Record<string, string>;
    ca?: string | undefined;
    clock: Clock;
    signal: AbortSignal;
    onMessage(message: ServerMessage): void;
    /** Turns a refusal into an error. */
    refusal(status: number, body: Uint8Array): ControlError;
  },
): Promise<LiveConnection> {
  const { headers, ca, clock, signal, onMessage, refusal } = options;
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, {
      headers,
      perMessageDeflate: false,
      maxPayload: MAX_MESSAGE_BYTES,
      ...(ca === undefined ? {} : { ca }),
    });
    const closed = Promise.withResolvers<ControlError>();
    let heardAt = clock.now();
    const watch = deadlineInterval({
      clock,
      intervalMs: CHECK_EVERY_MS,
      onTick: () => {
        if (clock.now() - heardAt > SILENT_AFTER_MS) socket.terminate();
      },
    });
    const onAbort = () => {
      reject(signal.reason);
      socket.terminate();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    socket.on('ping', () => {
      heardAt = clock.now();
    });
    socket.on('message', (data, isBinary) => {
      heardAt = clock.now();
      const message = isBinary ? undefined : parseServerMessage(data.toString());
      // Something newer than this version knows; what matters is asked for again.
      if (message !== undefined) onMessage(message);
    });
    socket.on('unexpected-response', (request, answer) => {
      const parts: Buffer[] = [];
      answer.on('data', (part: Buffer) => parts.push(part));
      answer.on('end', () => {
        reject(refusal(answer.statusCode ?? 0, Buffer.concat(parts)));
        request.destroy();
        socket.terminate();
      });
    });
    socket.on('error', (error) => reject(unreachable(url, error)));
    socket.on('close', (code, reason) => {
      watch.cancel();
      signal.removeEventListener('abort', onAbort);
      const why = reason.toString() || `code ${code}`;
      const error = new ControlError('server-unavailable', `${url.host} ended the connection: ${why}.`, {
        target: url.host,
      });
      closed.resolve(error);
      reject(error);
    });
    socket.on('open', () => {
      // From now on the connection belongs to whoever asked for it.
      signal.removeEventListener('abort', onAbort);
      resolve({
        address: url.host,
        closed: closed.promise,
        send: (message) => {
          if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
        },
        close: async () => {
          socket.close();
          await Promise.race([closed.promise, clock.sleep(CLOSE_GRACE_MS)]);
          socket.terminate();
        },
      });
    });
  });
}

/** How long a server may take to answer a close. */
const CLOSE_GRACE_MS = 500;
