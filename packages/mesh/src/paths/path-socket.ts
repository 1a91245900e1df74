import { SparseMap } from '@towpath/core';
import type { Endpoint, Network, UdpSocket } from '@towpath/net';
import type { PlainEnds } from '../peer-path.ts';
import type { RelayKey } from '../relays/relay-key.ts';
import { type SharedSocket, StunDemultiplexer } from '@towpath/stun';

/** Takes a datagram of WireGuard. */
export type DatagramReceiver = (datagram: Uint8Array) => void;

const SOCKET_BUFFER_BYTES = 4 * 1024 * 1024;

/** What sends checks and WireGuard's datagrams: a UDP socket of this machine, or a relayed address. */
export interface PathTransport {
  /** For checks. */
  readonly stun: StunDemultiplexer;
  readonly family: 4 | 6;
  readonly local: Endpoint;
  /** Of the relay that granted a relayed address, with the transport in use: `turn:203.0.113.1:3478?transport=udp`. */
  readonly relay: string | undefined;
  /** Names a relayed address in the ids of paths, whatever transport the relay is reached over. */
  readonly name?: string | undefined;
  /** True for a relayed address that is reached over TCP or TLS: UDP may not leave the network. */
  readonly isOverStream?: boolean;
  /** True while a relayed address is kept for peers that do not use yet the one that takes its place. */
  readonly isReplaced?: boolean;
  /** True when nothing comes over it any more. */
  readonly isClosed?: boolean;
  /** Of the relay that granted the relayed address. */
  readonly relayKey?: RelayKey | undefined;
  /** True when datagrams leave as they are. */
  readonly isPlain: boolean;
  /** True when its datagrams leave over another uplink than the default route. */
  readonly furtherUplink?: boolean;
  send(datagram: Uint8Array, to: Endpoint): void;
  /** Hands datagrams of WireGuard from `remote` to `receiver`, until disposed; the youngest receiver of an endpoint counts. */
  receiveFrom(remote: Endpoint, receiver: DatagramReceiver): Disposable;
  /** Makes sending to an endpoint possible, and cheaper: permissions and channels of a relay. */
  prepare(remote: Endpoint, signal: AbortSignal): Promise<void>;
  /**
   * Asks the relay to carry a peer's datagrams unframed (docs/protocol/turn-plain.md), and tells when it does and when no longer.
   * Absent where there is no relay.
   */
  openPlain?(remote: Endpoint, onChange: (ends: PlainEnds | undefined) => void): void;
}

/** Receivers by endpoint, without making a text of each datagram's source. */
export class ReceiverTable {
  readonly #byPort = new Map<number, SparseMap<string, DatagramReceiver>>();
  /** Datagrams from endpoints that no peer was verified at. */
  strays = 0;

  add(remote: Endpoint, receiver: DatagramReceiver): Disposable {
    const { address, port } = remote;
    const addresses = this.#byPort.get(port) ?? new SparseMap<string, DatagramReceiver>();
    this.#byPort.set(port, addresses);
    addresses.set(address, receiver);
    return new Registration(this, remote, receiver);
  }

  remove({ address, port }: Endpoint, receiver: DatagramReceiver): void {
    const addresses = this.#byPort.get(port);
    if (addresses === undefined || addresses.get(address) !== receiver) return;
    addresses.delete(address);
    if (addresses.size === 0) this.#byPort.delete(port);
  }

  deliver(datagram: Uint8Array, from: Endpoint): void {
    const receiver = this.#byPort.get(from.port)?.get(from.address);
    if (receiver === undefined) this.strays++;
    else receiver(datagram);
  }
}

/** Ends with its disposal that datagrams are taken. A function for each peer would take four times as much. */
class Registration implements Disposable {
  readonly #table: ReceiverTable;
  readonly #remote: Endpoint;
  readonly #receiver: DatagramReceiver;

  constructor(table: ReceiverTable, remote: Endpoint, receiver: DatagramReceiver) {
    this.#table = table;
    this.#remote = remote;
    this.#receiver = receiver;
  }

  [Symbol.dispose](): void {
    this.#table.remove(this.#remote, this.#receiver);
  }
}

/** A UDP socket that all peers share, of one family and uplink: docs/protocol/connectivity.md, "Data plane". */
export class PathSocket implements PathTransport, AsyncDisposable {
  readonly family: 4 | 6;
  readonly stun: StunDemultiplexer;
  readonly relay = undefined;
  readonly isPlain = true;
  readonly furtherUplink: boolean;
  readonly #socket: UdpSocket;
  readonly #receivers = new ReceiverTable();

  private constructor(socket: UdpSocket, family: 4 | 6, furtherUplink: boolean) {
    this.#socket = socket;
    this.family = family;
    this.furtherUplink = furtherUplink;
    this.stun = new StunDemultiplexer(socket);
    socket.route('stun', (data, from) => void this.stun.receive(data, from));
    socket.route('wireguard', (data, from) => this.#receivers.deliver(data, from));
  }

  /**
   * @param port 0 lets the system choose
   * @param address of an uplink; without it the datagrams leave as the routes are at that moment
   * @throws NetError as {@link Network.bindUdp}.
   */
  static async open(network: Network, family: 4 | 6, port: number, address?: string): Promise<PathSocket> {
    const socket = await network.bindUdp({
      family,
      port,
      address,
      receiveBufferBytes: SOCKET_BUFFER_BYTES,
      sendBufferBytes: SOCKET_BUFFER_BYTES,
      onMessage: () => {},
    });
    return new PathSocket(socket, family, address !== undefined);
  }

  get local(): Endpoint {
    return this.#socket.local;
  }

  /** For TURN allocations over the same socket. */
  get shared(): SharedSocket {
    return this.#socket;
  }

  send(datagram: Uint8Array, to: Endpoint): void {
    this.#socket.send(datagram, to);
  }

  receiveFrom(remote: Endpoint, receiver: DatagramReceiver): Disposable {
    return this.#receivers.add(remote, receiver);
  }

  async prepare(): Promise<void> {}

  close(): Promise<void> {
    return this.#socket.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
