import { parseEndpoint } from '../address/endpoint-text.ts';
import { type CapturedEndpoint, type CaptureDirection, NO_ENDPOINT } from './captured-packet.ts';

/** Bytes in a full line of the hex dump. */
const LINE_BYTES = 16;

/** One packet of a stream; `data` is a view that grows no more. */
export interface StreamPacket {
  readonly position: number;
  readonly direction: CaptureDirection;
  readonly source: CapturedEndpoint;
  readonly destination: CapturedEndpoint;
  readonly data: Uint8Array;
}

/** A dump that has begun. */
export interface DumpSoFar {
  readonly position: number;
  readonly bytes: readonly number[];
}

interface Open {
  position: number;
  node: 0 | 1;
  bytes: number[];
}

/**
 * Reads what Wireshark's "Follow UDP Stream" and `tshark -z follow,udp,…` show: as a hex dump, as C arrays, or raw. The
 * lines of the second node are indented. In a hex dump the offsets of each node run on from packet to packet, so a packet
 * ends where a line is not full or the node changes; a packet of exactly n full lines cannot be told from its successor.
 */
export class FollowStream {
  readonly #emit: (packet: StreamPacket) => void;
  readonly #nodes: [CapturedEndpoint, CapturedEndpoint] = [NO_ENDPOINT, NO_ENDPOINT];
  /** The next offset of each node. */
  readonly #offsets: [number, number] = [0, 0];
  #open: Open | undefined;
  /** A stream was recognised. */
  #active = false;
  /** A C array whose end was not seen yet. */
  #inArray = false;
  #raw = false;

  constructor(emit: (packet: StreamPacket) => void) {
    this.#emit = emit;
  }

  /**
   * Takes a line of a hex dump.
   * @param before the bytes of the dump that this line would continue, if it were no stream
   * @returns false when it is not known to be a stream
   */
  dumped(line: string, bytes: readonly number[], number: number, before?: DumpSoFar): boolean {
    const match = /^(\s*)([0-9a-fA-F]{8}) {2}(?! )/.exec(line);
    if (match === null) return false;
    const node = match[1] === '' ? 0 : 1;
    const offset = Number.parseInt(match[2] ?? '', 16);
    if (!this.#active) {
      // A dump of one packet is not indented, and only its last line is not full.
      const runsOn = before !== undefined && before.bytes.length % LINE_BYTES !== 0 && offset === before.bytes.length;
      if (node === 0 && !runsOn) return false;
      this.#active = true;
      if (before !== undefined) {
        this.#open = { position: before.position, node: 0, bytes: [...before.bytes] };
        this.#offsets[0] = before.bytes.length;
        this.finish();
      }
    }
    if (offset === 0) this.#offsets[node] = 0;
    if (offset !== this.#offsets[node] || this.#open?.node !== node) this.finish();
    this.#open ??= { position: number, node, bytes: [] };
    if (this.#open.bytes.length < MAX_BYTES) this.#open.bytes.push(...bytes);
    this.#offsets[node] = offset + bytes.length;
    if (bytes.length < LINE_BYTES) this.finish();
    return true;
  }

  /** Takes any other line. @returns false when it has nothing to do with a stream */
  line(line: string, number: number): boolean {
    const node = /^Node ([01]): (\S+)$/.exec(line);
    if (node !== null) {
      const parsed = parseEndpoint(node[2] ?? '', 0);
      this.#nodes[node[1] === '0' ? 0 : 1] = parsed.ok ? parsed.endpoint : NO_ENDPOINT;
      return true;
    }
    const follow = /^Follow: udp,(\w+)$/.exec(line);
    if (follow !== null) {
      this.#active = follow[1] === 'hex';
      this.#raw = follow[1] === 'raw';
      return true;
    }
    if ((this.#active || this.#raw) && /^={20,}$/.test(line)) {
      this.finish();
      return true;
    }
    return this.#array(line, number) || (this.#raw && this.#rawLine(line, number));
  }

  /** Emits the packet that was not ended yet. */
  finish(): void {
    const open = this.#open;
    this.#open = undefined;
    this.#inArray = false;
    if (open === undefined) return;
    const other = open.node === 0 ? 1 : 0;
    this.#emit({
      position: open.position,
      direction: open.node === 0 ? 'tx' : 'rx',
      source: this.#nodes[open.node],
      destination: this.#nodes[other],
      data: Uint8Array.from(open.bytes),
    });
  }

  /** `char peer0_1[] = {`, then lines of `0xf1, 0xe0, …`, the last one with `};`. */
  #array(line: string, number: number): boolean {
    const head = /^(?:static const )?(?:unsigned )?char peer([01])_\d+\[\] = \{/.exec(line.trim());
    if (head !== null) {
      this.finish();
      this.#open = { position: number, node: head[1] === '0' ? 0 : 1, bytes: [] };
      this.#inArray = true;
    } else if (!this.#inArray) return false;
    for (const [, byte = ''] of line.matchAll(/\b0x([0-9a-fA-F]{2})\b/g)) {
      if (this.#open && this.#open.bytes.length < MAX_BYTES) this.#open.bytes.push(Number.parseInt(byte, 16));
    }
    if (line.includes('}')) this.finish();
    return true;
  }

  /** One packet per line, as hex digits. */
  #rawLine(line: string, number: number): boolean {
    const match = /^(\s*)((?:[0-9a-fA-F]{2})+)$/.exec(line);
    if (match === null) return false;
    const bytes = [...Buffer.from(match[2] ?? '', 'hex').subarray(0, MAX_BYTES)];
    this.#open = { position: number, node: match[1] === '' ? 0 : 1, bytes };
    this.finish();
    return true;
  }
}

/** More does not fit into a datagram. */
const MAX_BYTES = 65_507;
