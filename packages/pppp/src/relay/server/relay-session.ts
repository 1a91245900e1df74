import type { Endpoint, UdpSocket } from '@towpath/net';
import type { StreamCipher } from '../../cipher/stream-cipher.ts';
import { encodeMessage, type Message } from '../../codec/message.ts';
import { MAGIC } from '../../codec/header.ts';
import { MessageType } from '../../codec/message-type.ts';
import type { Source } from '../../server/admission.ts';
import type { TcpClient } from '../../server/tcp-front.ts';
import type { ClientAccount, RelayMeter } from './meter.ts';
import type { RelayCounters } from './options.ts';

/** The largest datagram that is passed on: what an Ethernet frame holds. PPPP itself stays under 1,033. */
export const MAX_RELAYED_BYTES = 1472;
/** Count for rates and quotas with each datagram: the kernel counts packets with their headers, and cannot leave them out. */
export const UDP_IPV4_HEADER_BYTES = 28;

/**
 * Most bytes sent to a side before it has sent a packet in the session. Its address may be forged: the magic reaches
 * devices through the rendezvous and proves nothing. Enough for a login and a first command.
 */
const UNPROVEN_BYTES = 65_536;

/** Carrier of one side of a session. */
export interface SideCarrier {
  /** UDP: the session port's socket and the learnt address. */
  socket?: UdpSocket;
  endpoint?: Endpoint;
  /** TCP: the connection. */
  tcp?: TcpClient<RelayTcpState>;
}

/** State of a TCP connection. */
export interface RelayTcpState {
  readonly source: Source;
  /** The side that it is, once it has introduced itself. */
  side: RelaySide | undefined;
}

/** One side of a session, its address fixed by its first RLY_PKT. */
export class RelaySide {
  readonly session: RelaySession;
  readonly carrier: SideCarrier;
  readonly #cipher: StreamCipher | undefined;
  /** It has sent a packet in the session, or has been verified before. */
  proven: boolean;
  allowanceBytes: number = UNPROVEN_BYTES;
  /** How this side's datagrams begin, in its cipher. */
  readonly #magicByte: number;
  readonly #introductionByte: number;
  readonly #closeByte: number;

  constructor(session: RelaySession, carrier: SideCarrier, cipher: StreamCipher | undefined, proven: boolean) {
    this.session = session;
    this.carrier = carrier;
    this.#cipher = cipher;
    this.proven = proven;
    [this.#magicByte, this.#introductionByte] = firstBytes(cipher, MessageType.RLY_PKT);
    [, this.#closeByte] = firstBytes(cipher, MessageType.CLOSE);
  }

  /** True for a RLY_PKT, which is for the relay. */
  isIntroduction(data: Uint8Array): boolean {
    return data[1] === this.#introductionByte && data[0] === this.#magicByte;
  }

  isClose(data: Uint8Array): boolean {
    return data.length === 4 && data[1] === this.#closeByte && data[0] === this.#magicByte;
  }

  /** Its address as the relay sees it. */
  get remote(): Endpoint | undefined {
    return this.carrier.endpoint ?? this.carrier.tcp?.remote;
  }

  /** Sends bytes unchanged. */
  send(data: Uint8Array): void {
    const { socket, endpoint, tcp } = this.carrier;
    if (socket !== undefined) socket.send(data, endpoint!);
    else tcp?.send(data);
  }

  /** Sends a message of the relay's own. */
  tell(message: Message): void {
    const clear = encodeMessage(message);
    this.send(this.#cipher === undefined ? clear : this.#cipher.encipher(clear, clear));
  }
}

/** The port of a session, as far as others use it. */
export interface RelayPort {
  readonly socket: UdpSocket;
  open(session: RelaySession): void;
  close(session: RelaySession): void;
  attach(endpoint: Endpoint, side: RelaySide): void;
  detach(endpoint: Endpoint): void;
}

/** A session between one client and one device. */
export class RelaySession {
  readonly magic: number;
  readonly uid: string;
  readonly port: RelayPort;
  readonly account: ClientAccount;
  readonly #meter: RelayMeter;
  readonly #counters: RelayCounters;
  client: RelaySide | undefined;
  device: RelaySide | undefined;
  lastActiveMs: number;
  /** When a side has introduced itself last. */
  lastControlMs: number;
  /** Called once when it is known what the kernel has forwarded of the session. */
  onCounted: (() => void) | undefined;
  /** When both sides were connected. */
  readySinceMs: number | undefined;
  /** Bytes that were passed on. */
  bytes = 0;
  /** The last packet was a CLOSE; later sides are informed. */
  closing = false;

  constructor(
    identity: { magic: number; uid: string; port: RelayPort; account: ClientAccount },
    meter: RelayMeter,
    counters: RelayCounters,
    nowMs: number,
  ) {
    this.magic = identity.magic;
    this.uid = identity.uid;
    this.port = identity.port;
    this.account = identity.account;
    this.#meter = meter;
    this.#counters = counters;
    this.lastActiveMs = nowMs;
    this.lastControlMs = nowMs;
  }

  get ready(): boolean {
    return this.client !== undefined && this.device !== undefined;
  }

  /** Forwards a datagram unchanged to the other side. */
  forward(from: RelaySide, data: Uint8Array, nowMs: number): void {
    const counters = this.#counters;
    const to = from === this.client ? this.device : this.client;
    const size = data.length;
    if (to === undefined) {
      if (this.closing) return;
      this.closing = from.isClose(data);
      if (this.closing) this.lastActiveMs = nowMs;
      else counters.droppedNotReady++;
      return;
    }
    if (size > MAX_RELAYED_BYTES) {
      counters.droppedTooLarge++;
      return;
    }
    from.proven = true;
    if (!to.proven) {
      if (to.allowanceBytes < size) {
        counters.droppedUnproven++;
        return;
      }
      to.allowanceBytes -= size;
    }
    if (!this.#meter.pass(this.account, size + UDP_IPV4_HEADER_BYTES, nowMs)) return;
    this.lastActiveMs = nowMs;
    this.closing = from.isClose(data);
    counters.packetsForwarded++;
    counters.bytesForwarded += size;
    this.bytes += size;
    to.send(data);
  }
}

/** How a datagram of a type begins in a cipher. */
export function firstBytes(cipher: StreamCipher | undefined, type: number): [magic: number, type: number] {
  const clear = Uint8Array.of(MAGIC, type);
  const [magic = 0, second = 0] = cipher === undefined ? clear : cipher.encipher(clear);
  return [magic, second];
}
