import type { Endpoint, Network } from '@towpath/net';
import { PortmapError } from './portmap-error.ts';

/** Largest accepted response; descriptions of gateways have some ten kilobytes. */
const MAX_ANSWER_BYTES = 1 << 18;

/** Headers of an answer; gateways send a few hundred bytes. */
const MAX_HEAD_BYTES = 1 << 14;

export interface HttpRequest {
  method: 'GET' | 'POST';
  /** Path and query. */
  path: string;
  headers?: Readonly<Record<string, string>>;
  body?: string;
}

export interface HttpAnswer {
  status: number;
  body: string;
  /** Our address on the connection. */
  localAddress: string;
}

/**
 * Sends one HTTP/1.1 request on its own connection, as UPnP needs it.
 * @throws PortmapError `bad-answer`; NetError; the signal's reason.
 */
export async function exchangeHttp(
  network: Network,
  to: Endpoint,
  { method, path, headers = {}, body = '' }: HttpRequest,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const answer = Promise.withResolvers<Omit<HttpAnswer, 'localAddress'>>();
  // The connection may fail before its result is awaited.
  answer.promise.catch(() => undefined);
  const aborted = () => answer.reject(signal.reason);
  signal.addEventListener('abort', aborted, { once: true });
  const bad = (how: string) =>
    answer.reject(new PortmapError('bad-answer', `${to.address} ${how} on port ${to.port}.`, { target: to.address }));
  let received = Buffer.alloc(0);
  const read = (ended: boolean) => {
    const parsed = readHttp(received, ended);
    if (parsed === 'bad') bad('did not answer with HTTP');
    else if (received.length > MAX_ANSWER_BYTES) bad(`answered with more than ${MAX_ANSWER_BYTES} bytes`);
    else if (parsed !== 'more') answer.resolve(parsed);
  };
  try {
    const connection = await network.connectTcp(to, {
      signal,
      onData(data) {
        received = Buffer.concat([received, data]);
        read(false);
      },
      onClose: (error) => (error === undefined ? read(true) : answer.reject(error)),
    });
    try {
      const lines = Object.entries({
        Host: `${to.address}:${to.port}`,
        Connection: 'close',
        'Content-Length': String(Buffer.byteLength(body)),
        ...headers,
      }).map(([name, value]) => `${name}: ${value}\r\n`);
      connection.write(Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`));
      return { ...(await answer.promise), localAddress: connection.local.address };
    } finally {
      connection.destroy();
    }
  } finally {
    signal.removeEventListener('abort', aborted);
  }
}

/**
 * Parses a response; `more` while incomplete. Does not throw.
 * @param ended nothing more will arrive
 * @param interim how many interim responses may precede the answer (RFC 9110 §15.2)
 */
export function readHttp(data: Buffer, ended: boolean, interim = 2): { status: number; body: string } | 'more' | 'bad' {
  // Some gateways end lines with LF only, which RFC 9112 §2.2 asks to accept.
  const end = /\r?\n\r?\n/.exec(data.toString('latin1', 0, MAX_HEAD_BYTES));
  if (end === null) return ended || data.length >= MAX_HEAD_BYTES ? 'bad' : 'more';
  const head = data.toString('latin1', 0, end.index + 2);
  const status = Number(/^HTTP\/1\.[01] (\d{3})[ \r\n]/.exec(head)?.[1]);
  if (Number.isNaN(status)) return 'bad';
  const content = data.subarray(end.index + end[0].length);
  if (status < 200) return interim > 0 ? readHttp(content, ended, interim - 1) : 'bad';
  if (/^transfer-encoding:\s*chunked\s*$/im.test(head)) {
    const body = readChunks(content);
    return typeof body === 'string' ? (body === 'more' && ended ? 'bad' : body) : { status, body: body.text };
  }
  const length = /^content-length:\s*(\d{1,9})\s*$/im.exec(head)?.[1];
  if (length === undefined) return ended ? { status, body: content.toString() } : 'more';
  if (content.length >= Number(length)) return { status, body: content.toString('utf8', 0, Number(length)) };
  return ended ? 'bad' : 'more';
}

/** RFC 9112 §7.1, without trailers. */
function readChunks(data: Buffer): { text: string } | 'more' | 'bad' {
  const chunks: Buffer[] = [];
  let at = 0;
  while (true) {
    const lineEnd = data.indexOf('\r\n', at);
    if (lineEnd < 0) return 'more';
    const size = /^([0-9a-fA-F]{1,6})\s*(?:;.*)?$/.exec(data.toString('latin1', at, lineEnd))?.[1];
    if (size === undefined) return 'bad';
    const length = Number.parseInt(size, 16);
    if (length === 0) return { text: Buffer.concat(chunks).toString() };
    const start = lineEnd + 2;
    if (data.length < start + length + 2) return 'more';
    chunks.push(data.subarray(start, start + length));
    at = start + length + 2;
  }
}
