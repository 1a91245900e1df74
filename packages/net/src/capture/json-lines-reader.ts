import { type CapturedEndpoint, type CaptureDirection, NO_ENDPOINT } from './captured-packet.ts';
import type { PacketSink } from './packet-sink.ts';
import { forEachLine } from './text-lines.ts';

/** Ports seen in a file; endpoint objects are shared between packets. */
const MAX_SHARED_PORTS = 4096;

/**
 * One JSON object per line: `t` (seconds or null), `dir` (`tx`, `rx`), `proto` (`udp`, `ble`), `hex`, and where known
 * `char`, `lport`, `rport`, `truncated`. The number of the line is the number of the packet.
 */
export function readJsonLines(bytes: Uint8Array, sink: PacketSink): void {
  const ports = new Map<number, CapturedEndpoint>();
  const endpoint = (port: unknown): CapturedEndpoint => {
    if (typeof port !== 'number' || !Number.isInteger(port) || port < 0 || port > 65_535) return NO_ENDPOINT;
    let known = ports.get(port);
    if (known === undefined) {
      if (ports.size >= MAX_SHARED_PORTS) ports.clear();
      known = { address: undefined, port };
      ports.set(port, known);
    }
    return known;
  };
  sink.startAt(0);
  forEachLine(bytes, (line, number) => {
    if (line === undefined) sink.problem('limit-reached', number, 'The line is too long and was left out.');
    else if (line.trim() !== '') readLine(line, number, sink, endpoint);
  });
}

function readLine(line: string, number: number, sink: PacketSink, endpoint: (port: unknown) => CapturedEndpoint): void {
  const fields = parse(line);
  if (fields === undefined) {
    sink.problem('bad-line', number, 'The line is not a JSON object.');
    return;
  }
  const direction = directionOf(fields.dir);
  const proto = fields.proto === undefined ? 'udp' : fields.proto;
  if (direction === undefined || (proto !== 'udp' && proto !== 'ble') || typeof fields.hex !== 'string') {
    sink.problem('bad-line', number, 'The object lacks dir (tx, rx), proto (udp, ble) or hex.');
    return;
  }
  const data = Buffer.from(fields.hex, 'hex');
  if (data.length * 2 !== fields.hex.length) {
    sink.problem('bad-line', number, `hex is damaged after ${data.length} bytes; they are used.`);
  }
  const local = endpoint(fields.lport);
  const remote = endpoint(fields.rport);
  sink.emit(
    {
      position: number,
      timeMs: typeof fields.t === 'number' && Number.isFinite(fields.t) ? fields.t * 1000 : undefined,
      direction,
      source: direction === 'tx' ? local : remote,
      destination: direction === 'tx' ? remote : local,
      proto,
      data,
      truncated: truncatedSize(fields.truncated, data.length),
      characteristic: typeof fields.char === 'string' ? fields.char : undefined,
    },
    number,
  );
}

function parse(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    // The caller reports the line; the parser's message would only repeat it.
    return undefined;
  }
}

function directionOf(value: unknown): CaptureDirection | undefined {
  return value === 'tx' || value === 'rx' ? value : undefined;
}

function truncatedSize(value: unknown, bytes: number): number | undefined {
  if (typeof value === 'number') return value;
  return value === true ? bytes : undefined;
}
