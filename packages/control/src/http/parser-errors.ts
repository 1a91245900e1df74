import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { errorCode } from '@towpath/core';

/** Why a request is refused before any handler sees it. */
export interface ParserRefusal {
  readonly status: 400 | 408 | 413 | 417 | 431;
  readonly code: 'invalid-request' | 'limit-exceeded';
  readonly message: string;
}

const MALFORMED: ParserRefusal = { status: 400, code: 'invalid-request', message: 'The request is not HTTP/1.1.' };
const REFUSALS: Readonly<Record<string, ParserRefusal>> = {
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, code: 'invalid-request', message: 'The request was not complete in time.' },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: {
    status: 413,
    code: 'limit-exceeded',
    message: 'The chunk extensions of the body are too large.',
  },
  HPE_HEADER_OVERFLOW: { status: 431, code: 'limit-exceeded', message: 'The headers of the request are too large.' },
};
const EXPECTATION: ParserRefusal = {
  status: 417,
  code: 'invalid-request',
  message: 'The only supported expectation is 100-continue.',
};

/** Options of {@link parserErrors}. */
export interface ParserErrorOptions {
  /** Returns the JSON document of a refusal, in the form of the API's other errors. */
  bodyOf(refusal: ParserRefusal): object;
  onRefused?(refusal: ParserRefusal): void;
}

/**
 * Returns listeners that answer what Node's parser refuses in the form of the API's other errors. Node and Fastify answer
 * it in forms of their own.
 */
export function parserErrors({ bodyOf, onRefused }: ParserErrorOptions): {
  /** For `clientError`. */
  onClientError(error: Error, socket: Duplex): void;
  /** For `checkExpectation` of a server. */
  watch(server: Server): void;
} {
  return {
    onClientError(error, socket) {
      const refusal = refusalOf(errorCode(error));
      // Others are connections that broke, and TLS handshakes that failed: nobody could read an answer.
      if (refusal === undefined || !socket.writable || hasAnswer(socket)) {
        socket.destroy();
        return;
      }
      onRefused?.(refusal);
      refuseConnection(socket, refusal.status, bodyOf(refusal));
    },
    watch(server) {
      server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
        request.resume();
        onRefused?.(EXPECTATION);
        const text = JSON.stringify(bodyOf(EXPECTATION));
        const headers = {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(text),
          connection: 'close',
        };
        response.writeHead(EXPECTATION.status, headers).end(text);
      });
    },
  };
}

/** Answers on a connection that no response object belongs to, such as one of an upgrade, and ends it. */
export function refuseConnection(socket: Duplex, status: number, body: object): void {
  const text = JSON.stringify(body);
  // A client that does not read the answer must not keep the connection open.
  socket.on('error', () => socket.destroy());
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Refused'}\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`,
    () => socket.destroy(),
  );
}

/**
 * Prepares the answer to a body that is too large. A connection that is closed while the body still arrives is reset, and
 * clients that send it first lose the answer. So it stays open, and what still comes is dropped until the request is
 * complete or its time is over.
 */
export function dropRestOfBody(reply: {
  readonly request: { readonly raw: IncomingMessage };
  removeHeader(name: string): unknown;
}): void {
  // Fastify has set it to `close`.
  reply.removeHeader('connection');
  reply.request.raw.resume();
}

function refusalOf(code: string): ParserRefusal | undefined {
  return REFUSALS[code] ?? (code.startsWith('HPE_') ? MALFORMED : undefined);
}

/** Whether a response on this connection has begun: a second one in the middle of it would be taken for its body. */
function hasAnswer(socket: Duplex): boolean {
  const message: unknown = Reflect.get(socket, '_httpMessage');
  return typeof message === 'object' && message !== null && 'headersSent' in message && message.headersSent === true;
}
