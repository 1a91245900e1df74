import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Browsers and Prometheus send the next request after the answer. */
const MAX_UNANSWERED = 16;

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

export interface LimitPipeliningOptions {
  /** Requests have bodies that are read; without it, the connection of one that has a body ends with its answer. @default true */
  readonly bodies?: boolean;
}

/**
 * Returns a handler of HTTP requests that ends a connection on which more requests wait for their answers. One
 * piece of a stream holds a thousand small requests; without a limit all are worked on, also after the connection has ended.
 * A connection whose upgrade nobody takes ends with its answer: Node would read what follows, and forget it, for ever.
 */
export function limitPipelining(handle: Handler, { bodies = true }: LimitPipeliningOptions = {}): Handler {
  const unanswered = new WeakMap<Socket, number>();
  return (request, response) => {
    const { socket } = request;
    if (socket.destroyed) return;
    const count = (unanswered.get(socket) ?? 0) + 1;
    if (count > MAX_UNANSWERED) {
      socket.destroy();
      return;
    }
    unanswered.set(socket, count);
    response.once('close', () => unanswered.set(socket, (unanswered.get(socket) ?? 1) - 1));
    const { upgrade, 'content-length': length, 'transfer-encoding': coding } = request.headers;
    const hasBody = coding !== undefined || (length !== undefined && Number(length) !== 0);
    if (upgrade !== undefined || (hasBody && !bodies)) response.shouldKeepAlive = false;
    handle(request, response);
  };
}
