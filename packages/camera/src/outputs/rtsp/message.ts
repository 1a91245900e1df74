/** RTSP messages (RFC 2326 §4 to §7, §10.12): requests, responses, and binary data between them. */

/** A request of a client. */
export interface RtspRequest {
  readonly method: string;
  readonly url: string;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
}

/** What a client sent: a request, interleaved data (RTCP reports), or something that is no RTSP. */
export type RtspItem =
  | { readonly type: 'request'; readonly request: RtspRequest }
  | { readonly type: 'data'; readonly channel: number; readonly data: Uint8Array }
  | { readonly type: 'malformed' };

/** Clients send a few hundred bytes. */
const MAX_HEAD_BYTES = 8_192;
/** Bodies of GET_PARAMETER and ANNOUNCE; none is used. */
const MAX_BODY_BYTES = 4_096;
const MAX_HEADERS = 64;

const END_OF_HEAD = Buffer.from('\r\n\r\n');

/** Cuts a client's byte stream into requests and interleaved data. After `malformed` the connection is to be closed. */
export class RtspReader {
  #held: Buffer = Buffer.alloc(0);

  push(bytes: Uint8Array): RtspItem[] {
    this.#held = Buffer.concat([this.#held, bytes]);
    const items: RtspItem[] = [];
    for (;;) {
      const item = this.#next();
      if (item === undefined) return items;
      items.push(item);
      if (item.type === 'malformed') return items;
    }
  }

  #next(): RtspItem | undefined {
    const held = this.#held;
    if (held.length === 0) return undefined;
    if (held[0] === 0x24) {
      if (held.length < 4) return undefined;
      const end = 4 + held.readUInt16BE(2);
      if (held.length < end) return undefined;
      this.#held = held.subarray(end);
      return { type: 'data', channel: held[1]!, data: held.subarray(4, end) };
    }
    const end = held.indexOf(END_OF_HEAD);
    if (end < 0) return held.length > MAX_HEAD_BYTES ? { type: 'malformed' } : undefined;
    if (end > MAX_HEAD_BYTES) return { type: 'malformed' };
    const request = parseHead(held.toString('latin1', 0, end));
    if (request === undefined) return { type: 'malformed' };
    const length = request.headers.get('content-length') ?? '0';
    const bodyBytes = Number(length);
    if (!/^\d{1,10}$/.test(length) || bodyBytes > MAX_BODY_BYTES) return { type: 'malformed' };
    const total = end + END_OF_HEAD.length + bodyBytes;
    if (held.length < total) return undefined;
    this.#held = held.subarray(total);
    return { type: 'request', request };
  }
}

function parseHead(head: string): RtspRequest | undefined {
  const [first = '', ...lines] = head.split('\r\n');
  const match = /^([A-Z_]{1,20}) (\S{1,1024}) RTSP\/1\.[0-9]$/.exec(first);
  if (match === null || lines.length > MAX_HEADERS) return undefined;
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon < 1) return undefined;
    headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
  return { method: match[1]!, url: match[2]!, headers };
}

const REASONS: Readonly<Record<number, string>> = {
  200: 'OK',
  400: 'Bad Request',
  401: 'Unauthorized',
  404: 'Not Found',
  405: 'Method Not Allowed',
  454: 'Session Not Found',
  455: 'Method Not Valid in This State',
  459: 'Aggregate Operation Not Allowed',
  461: 'Unsupported Transport',
  503: 'Service Unavailable',
};

/** Encodes a response. Header values are ours; the number of the request is the only text of the client. */
export function encodeResponse(
  status: number,
  sequence: string | undefined,
  headers: Readonly<Record<string, string>> = {},
  body = '',
): Uint8Array {
  const lines = [`RTSP/1.0 ${status} ${REASONS[status] ?? 'Error'}`];
  if (sequence !== undefined && /^\d{1,10}$/.test(sequence)) lines.push(`CSeq: ${sequence}`);
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
  if (body !== '') lines.push(`Content-Length: ${Buffer.byteLength(body)}`);
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`);
}

/** Encodes a packet for a connection that also carries requests (RFC 2326 §10.12). */
export function encodeInterleaved(channel: number, packet: Uint8Array): Uint8Array {
  const out = Buffer.alloc(4 + packet.length);
  out[0] = 0x24;
  out[1] = channel;
  out.writeUInt16BE(packet.length, 2);
  out.set(packet, 4);
  return out;
}

/** How a client wants its packets. */
export type RtspTransport =
  | { readonly type: 'tcp'; readonly channels: readonly [number, number] }
  | { readonly type: 'udp'; readonly ports: readonly [number, number] };

/** Reads a Transport header: the first of the listed transports that is served. Multicast is not. */
export function parseTransport(text: string): RtspTransport | undefined {
  for (const spec of text.split(',').slice(0, 8)) {
    const parts = spec.trim().split(';');
    if (parts.includes('multicast')) continue;
    const pair = (name: string): [number, number] | undefined => {
      const match = new RegExp(`^${name}=(\\d{1,5})(?:-(\\d{1,5}))?$`).exec(
        parts.find((part) => part.startsWith(`${name}=`)) ?? '',
      );
      return match === null ? undefined : [Number(match[1]), Number(match[2] ?? Number(match[1]) + 1)];
    };
    if (parts[0] === 'RTP/AVP/TCP') {
      const channels = pair('interleaved') ?? [0, 1];
      if (channels.every((channel) => channel <= 255)) return { type: 'tcp', channels };
    } else if (parts[0] === 'RTP/AVP' || parts[0] === 'RTP/AVP/UDP') {
      const ports = pair('client_port');
      if (ports?.every((port) => port >= 1_024 && port <= 65_535)) return { type: 'udp', ports };
    }
  }
  return undefined;
}
