import type { Clock } from '@towpath/core';
import { WebSocket } from 'ws';
import { ControlError } from '../control-error.ts';
import { parseServerMessage, type ServerMessage } from '../wire/messages.ts';
import { ConnectionWatch } from './connection-watch.ts';
import { unreachable } from './http-request.ts';
import type { LiveConnection } from './transport.ts';

/** The largest message of a server: a page of a log, with margin. */
const MAX_MESSAGE_BYTES = 2_097_152;
/** Nothing more is read while messages of this size wait to be processed: a server may send faster than they are verified. */
const MAX_WAITING_BYTES = 8 * MAX_MESSAGE_BYTES;
/** The largest answer of a server that refuses a connection. */
const MAX_REFUSAL_BYTES = 65_536;

/**
 * Opens the WebSocket connection of a node.
 * @throws ControlError with the server's own code when it refuses; `server-unavailable`; the signal's reason.
 */
export function openLiveSocket(
  url: URL,
  options: {
    headers: Record<string, string>;
    ca?: string | undefined;
    clock: Clock;
    signal: AbortSignal;
    /** Resolves when the message has been processed; undefined when it has been already. */
    onMessage(message: ServerMessage): Promise<void> | undefined;
    /** Called once, at the first message that cannot be read. */
    onUnreadable(): void;
    /** Converts a refusal into an error. */
    refusal(status: number, body: Uint8Array): ControlError;
  },
): Promise<LiveConnection> {
  const { headers, ca, clock, signal, onMessage, onUnreadable, refusal } = options;
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, {
      headers,
      perMessageDeflate: false,
      maxPayload: MAX_MESSAGE_BYTES,
      ...(ca === undefined ? {} : { ca }),
    });
    const closed = Promise.withResolvers<ControlError>();
    let watch: ConnectionWatch | undefined;
    let waitingBytes = 0;
    let saidUnreadable = false;
    const onAbort = () => {
      reject(signal.reason);
      socket.terminate();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    socket.on('pong', (payload) => watch?.answered(payload.toString()));
    socket.on('message', (data, isBinary) => {
      const text = isBinary ? '' : data.toString();
      const message = isBinary ? undefined : parseServerMessage(text);
      // A message of another version; missing data is requested again.
      if (message === undefined && !saidUnreadable) {
        saidUnreadable = true;
        onUnreadable();
      }
      const processed = message && onMessage(message);
      if (processed === undefined) return;
      waitingBytes += text.length;
      if (waitingBytes > MAX_WAITING_BYTES) socket.pause();
      const done = () => {
        waitingBytes -= text.length;
        if (socket.isPaused && waitingBytes < MAX_WAITING_BYTES / 2) socket.resume();
      };
      processed.then(done, done);
    });
    socket.on('unexpected-response', (request, answer) => {
      const parts: Buffer[] = [];
      let size = 0;
      const finish = () => {
        reject(refusal(answer.statusCode ?? 0, Buffer.concat(parts).subarray(0, MAX_REFUSAL_BYTES)));
        request.destroy();
        socket.terminate();
      };
      answer.on('data', (part: Buffer) => {
        size += part.length;
        parts.push(part);
        // Not an answer of a control server; its body may have no end.
        if (size > MAX_REFUSAL_BYTES) finish();
      });
      answer.on('error', (error) => reject(unreachable(url, error)));
      answer.on('end', finish);
    });
    socket.on('error', (error) => reject(unreachable(url, error)));
    socket.on('close', (code, reason) => {
      watch?.[Symbol.dispose]();
      signal.removeEventListener('abort', onAbort);
      const why = reason.toString() || `code ${code}`;
      const error = new ControlError('server-unavailable', `${url.host} closed the connection: ${why}.`, {
        target: url.host,
      });
      closed.resolve(error);
      reject(error);
    });
    socket.on('open', () => {
      // From now on the caller owns the connection.
      signal.removeEventListener('abort', onAbort);
      watch = new ConnectionWatch(
        { clock },
        {
          ping: (payload) => {
            if (socket.readyState === WebSocket.OPEN) socket.ping(payload);
          },
          onDead: () => socket.terminate(),
        },
      );
      resolve({
        address: url.host,
        closed: closed.promise,
        send: (message) => {
          if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
        },
        close: async () => {
          using _limit = clock.timer(CLOSE_GRACE_MS, () => socket.terminate());
          socket.close();
          await closed.promise;
        },
      });
    });
  });
}

/** Time limit for a server's answer to a close. */
const CLOSE_GRACE_MS = 500;
