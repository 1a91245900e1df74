/** Why a packet did not arrive. */
export type DropReason =
  /** the link's `lossRatio` */
  | 'lost'
  /** the link's queue was full (`bytesPerSecond`, `queueBytes`) */
  | 'queue-full'
  /** larger than the link's `mtuBytes`: a path-MTU black hole */
  | 'too-big'
  | 'unplugged'
  /** no host has the destination address */
  | 'no-route'
  /** no socket on the destination port */
  | 'no-listener'
  /** the firewall of a host or of a box */
  | 'firewalled'
  /** a NAT received it from outside and has no mapping for the port */
  | 'no-mapping'
  /** a NAT has the mapping, but filters this sender */
  | 'filtered'
  /** a box that lets no UDP through, or whose `allows` rule refused it */
  | 'blocked'
  /** a NAT has no external port left */
  | 'no-port-left'
  /** sent to the NAT's own external address from inside, without hairpinning */
  | 'no-hairpin'
  /** an interception hook did not pass it on */
  | 'intercepted';

/** What packets became; `sent + copies = delivered + dropped + inFlight`. */
export interface PacketCounters {
  /** Datagrams and TCP segments that hosts sent. */
  sent: number;
  /** Copies made on the way: duplication, broadcast, interception. */
  copies: number;
  delivered: number;
  dropped: Partial<Record<DropReason, number>>;
}

/** Control information of a TCP segment. */
export interface TcpSegment {
  readonly kind: 'syn' | 'syn-ack' | 'data' | 'reset';
  /** Position of the first byte in the sender's stream. */
  readonly sequence: number;
  /** Next byte that the sender expects. */
  readonly acknowledged: number;
  /** The sender's stream ends after this segment. */
  readonly end: boolean;
  /** On `syn`: the client wants TLS. On `reset`: it was refused for that. */
  readonly tls: boolean;
}

/** Sender of a packet: informed when a router or the destination refuses it. */
export interface PacketOrigin {
  /** It hears ICMP errors even where UDP sockets in general do not. */
  readonly hearsErrors?: boolean;
  /** An ICMP error: nobody has the address, or the port is closed. */
  bounced(code: 'unreachable' | 'connection-refused', address: string, port: number): void;
}

/** A packet under way, as interception hooks and observers see it. NATs rewrite its addresses in place. */
export interface SimulatedPacket {
  /** Counts up per internet; copies have their original's. */
  readonly id: number;
  readonly protocol: 'udp' | 'tcp';
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  /** Hooks may replace it. */
  payload: Uint8Array;
  /** Present on TCP. */
  readonly segment: TcpSegment | undefined;
}

/** Header bytes that count towards rates and MTU: IPv4 20, IPv6 40, UDP 8, TCP 20. */
const IP4_HEADER_BYTES = 20;
const IP6_HEADER_BYTES = 40;
const UDP_HEADER_BYTES = 8;
const TCP_HEADER_BYTES = 20;

export class Packet implements SimulatedPacket {
  readonly id: number;
  readonly protocol: 'udp' | 'tcp';
  source: string;
  sourcePort: number;
  destination: string;
  destinationPort: number;
  payload: Uint8Array;
  readonly segment: TcpSegment | undefined;
  readonly origin: PacketOrigin;
  /** Whom it was first sent to, before NATs. */
  readonly target: string;
  readonly targetPort: number;
  readonly sentAt: number;
  /** When it reaches the point it is processed at; links move it on. */
  at: number;
  /** It has spent time on a timer: from now on it may be handled at once. */
  waited = false;
  broadcast = false;

  constructor(
    id: number,
    from: { address: string; port: number },
    to: { address: string; port: number },
    payload: Uint8Array,
    origin: PacketOrigin,
    at: number,
    segment?: TcpSegment,
  ) {
    this.id = id;
    this.protocol = segment ? 'tcp' : 'udp';
    this.source = from.address;
    this.sourcePort = from.port;
    this.destination = to.address;
    this.destinationPort = to.port;
    this.target = to.address;
    this.targetPort = to.port;
    this.payload = payload;
    this.origin = origin;
    this.sentAt = at;
    this.at = at;
    this.segment = segment;
  }

  /** Size on the wire, IP header included. */
  get bytes(): number {
    const ip = this.source.includes(':') ? IP6_HEADER_BYTES : IP4_HEADER_BYTES;
    return this.payload.length + ip + (this.segment ? TCP_HEADER_BYTES : UDP_HEADER_BYTES);
  }

  clone(): Packet {
    const to = { address: this.target, port: this.targetPort };
    const from = { address: this.source, port: this.sourcePort };
    const copy = new Packet(this.id, from, to, new Uint8Array(this.payload), this.origin, this.sentAt, this.segment);
    copy.destination = this.destination;
    copy.destinationPort = this.destinationPort;
    copy.at = this.at;
    copy.waited = this.waited;
    copy.broadcast = this.broadcast;
    return copy;
  }
}
