/** One end of a captured datagram; recorders leave out what they did not see. */
export interface CapturedEndpoint {
  /** IP address in text form. */
  readonly address: string | undefined;
  readonly port: number | undefined;
}

/** One datagram, or one Bluetooth LE value, as some recorder wrote it down. */
export interface CapturedPacket {
  /**
   * Number of this packet among those delivered, from 1; in JSON lines the number of the line. A packet that the
   * `accept` filter refuses, that a forwarding host recorded twice, or that is no datagram has no number.
   */
  readonly record: number;
  /** Where to find it in the file: the frame number of pcap and pcapng, the line where a text dump of it begins. */
  readonly position: number;
  /** Milliseconds since the recording began, with fractions; undefined where the recorder had no clock. */
  readonly timeMs: number | undefined;
  /** `tx` when the recording side sent it; undefined where the recorder only knew addresses (pcap, pcapng, tcpdump). */
  readonly direction: CaptureDirection | undefined;
  readonly source: CapturedEndpoint;
  readonly destination: CapturedEndpoint;
  readonly proto: 'udp' | 'ble';
  /** The UDP payload or the characteristic's value; may be a view of the file's bytes. */
  readonly data: Uint8Array;
  /** Size of the whole payload, in bytes, when the recorder kept only the `data` at its beginning. */
  readonly truncated: number | undefined;
  /** Bluetooth LE only: UUID of the characteristic. */
  readonly characteristic: string | undefined;
}

export type CaptureDirection = 'tx' | 'rx';

/** Format of a file, detected from its content. `text` is any of the hexdumps and logs. */
export type CaptureFormat = 'pcap' | 'pcapng' | 'json-lines' | 'text' | 'unknown';

export type CaptureProblemCode =
  /** nothing in the file looks like a capture */
  | 'unknown-format'
  /** the file ends inside a packet or a block */
  | 'truncated-file'
  /** a length or a structure that cannot be; what follows in a binary file cannot be found any more */
  | 'damaged'
  /** a line of a text format that should hold a packet and does not */
  | 'bad-line'
  /** a link type that is not read */
  | 'unsupported-link-type'
  /** fragments of datagrams whose other fragments are missing */
  | 'fragments-missing'
  /** a named limit was reached and something was left out */
  | 'limit-reached';

/** Something that could not be read. Reading continues where possible. */
export interface CaptureProblem {
  readonly code: CaptureProblemCode;
  /** Frame or line number, 0 when it concerns the file. */
  readonly position: number;
  readonly message: string;
}

export const NO_ENDPOINT: CapturedEndpoint = { address: undefined, port: undefined };

/** Problems kept of one file. A damaged text of a million lines has one cause; a hundred samples show it. */
export const MAX_PROBLEMS = 100;

/** Longest packet of a pcap or pcapng record: the largest snapshot length that libpcap itself accepts. */
export const MAX_RECORD_BYTES = 262_144;
