import type { Endpoint, Network } from '@towpath/net';
import { PortmapError } from './portmap-error.ts';

/** Descriptions of gateways are some ten kilobytes; what is larger is no gateway. */
const MAX_ANSWER_BYTES = 1 << 18;

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
  /** Our address, as the connection has it. */
  localAddress: string;
}

/**
 * One HTTP/1.1 request on a connection of its own, as UPnP needs it.
 * @throws PortmapError `bad-answer`; NetError; the signal's reason.
 */
export async function exchangeHttp(
  network: Network,
  to: Endpoint,
  { method, path, headers = {}, body = '' }: HttpRequest,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const answer = Promise.withResolvers<Omit<HttpAnswer, 'localAddress'>>();
  // It may fail before anybody waits for it.
  answer.promise.catch(() => undefined);
  const aborted = () => answer.reject(signal.reason);
  signal.addEventListener('abort', aborted, { once: true });
  const bad = () =>
    answer.reject(
      new PortmapError('bad-answer', `${to.address} did not answer with HTTP on port ${to.port}.`, {
        target: to.address,
      }),
    );
  let received = Buffer.alloc(0);
  const read = (ended: boolean) => {
    const parsed = readHttp(received, ended);
    if (parsed === 'bad' || received.length > MAX_ANSWER_BYTES) bad();
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

/** An answer, when it is complete. `ended`: nothing more will come. Never throws. */
export function readHttp(data: Buffer, ended: boolean): { status: number; body: string } | 'more' | 'bad' {
  const end = data.indexOf('\r\n\r\n');
  if (end < 0) return ended ? 'bad' : 'more';
  const head = data.toString('latin1', 0, end + 2);
  const status = Number(/^HTTP\/1\.[01] (\d{3})[ \r]/.exec(head)?.[1]);
  if (Number.isNaN(status)) return 'bad';
  const content = data.subarray(end + 4);
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
