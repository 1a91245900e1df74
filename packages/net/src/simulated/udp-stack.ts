import { isPort } from '../address/endpoint-text.ts';
import { isUnspecified } from '../address/ip.ts';
import { type DatagramHandler, type DatagramMatch, DatagramRoutes } from '../datagram-routes.ts';
import { type Endpoint, formatEndpoint, sameEndpoint } from '../endpoint.ts';
import { ADVICE, NetError, type NetErrorCode } from '../net-error.ts';
import type { UdpOptions, UdpSocket } from '../network.ts';
import type { Fabric, KnownAddress } from './fabric.ts';
import { Packet, type PacketOrigin } from './packet.ts';
import { PortTable } from './port-table.ts';

/** What the UDP and TCP of a host ask of it. */
export interface HostAddressing {
  /** The address that a packet to `destination` leaves from; `undefined` when there is no route. */
  sourceFor(destination: string, family: 4 | 6): string | undefined;
  /** True when the host has the address now, loopback included. */
  owns(address: string): boolean;
  isBroadcast(address: string): boolean;
  send(packet: Packet): void;
}

/** The largest UDP payload over IPv4: 65,535 less 20 of IP and 8 of UDP. */
const MAX_UDP_PAYLOAD_BYTES = 65_507;

export function netError(code: NetErrorCode, action: string, target: Endpoint): NetError {
  const text = formatEndpoint(target);
  return new NetError(code, `Could not ${action} ${text}. ${ADVICE[code]}`, { target: text });
}

/** The UDP sockets of one host. */
export class UdpStack {
  readonly #fabric: Fabric;
  readonly #host: HostAddressing;
  readonly #tables: { 4: PortTable<SimulatedUdpSocket>; 6: PortTable<SimulatedUdpSocket> };

  constructor(fabric: Fabric, host: HostAddressing) {
    this.#fabric = fabric;
    this.#host = host;
    this.#tables = { 4: new PortTable(fabric.random), 6: new PortTable(fabric.random) };
  }

  async bind(options: UdpOptions): Promise<UdpSocket> {
    const { signal, family = 4 } = options;
    signal?.throwIfAborted();
    const wanted = { address: options.address ?? (family === 4 ? '0.0.0.0' : '::'), port: options.port ?? 0 };
    const table = this.#tables[family];
    const socket = new SimulatedUdpSocket(this.#fabric, this.#host, options, family, table);
    socket.local = bindEndpoint(this.#fabric, this.#host, table, socket, wanted, family, options.reuseAddress ?? false);
    this.#fabric.openSockets++;
    await Promise.resolve();
    try {
      if (options.remote) socket.connect(options.remote);
    } catch (error) {
      await socket.close();
      throw error;
    }
    if (signal?.aborted) {
      await socket.close();
      throw signal.reason;
    }
    signal?.addEventListener('abort', socket.abort, { once: true });
    return socket;
  }

  receive(packet: Packet): void {
    const table = this.#tables[packet.destination.includes(':') ? 6 : 4];
    if (packet.broadcast) {
      const listening = table.all(packet.destinationPort).filter((socket) => socket.hears(packet.destination));
      listening.forEach((socket, at) => {
        socket.deliver(at === 0 ? packet : this.#fabric.copy(packet));
      });
      if (listening.length === 0) this.#fabric.drop(packet, 'no-listener');
      return;
    }
    const from = { address: packet.source, port: packet.sourcePort };
    const socket = table.find(packet.destination, packet.destinationPort, (candidate) => candidate.score(from));
    if (socket) socket.deliver(packet);
    else this.#fabric.drop(packet, 'no-listener');
  }
}

/** Checks the address, finds a port, and enters the socket into the table. @throws NetError */
export function bindEndpoint<T extends object>(
  fabric: Fabric,
  host: HostAddressing,
  table: PortTable<T>,
  socket: T,
  wanted: Endpoint,
  family: 4 | 6 | undefined,
  reuse: boolean,
): Endpoint {
  const address = fabric.address(wanted.address);
  if (!address || (family !== undefined && address.family !== family)) throw netError('bad-address', 'bind', wanted);
  if (!isUnspecified(address.text) && !host.owns(address.text)) throw netError('address-not-available', 'bind', wanted);
  const port = table.bind(socket, address.text, wanted.port, reuse);
  if (port === undefined) throw netError('address-in-use', 'bind', wanted);
  return { address: address.text, port };
}

class SimulatedUdpSocket implements UdpSocket, PacketOrigin {
  local: Endpoint = { address: '', port: 0 };
  remote: Endpoint | undefined;
  readonly #fabric: Fabric;
  readonly #host: HostAddressing;
  readonly #options: UdpOptions;
  readonly #routes: DatagramRoutes;
  readonly #family: 4 | 6;
  readonly #table: PortTable<SimulatedUdpSocket>;
  #from: Endpoint = { address: '', port: 0 };
  #closed = false;

  constructor(
    fabric: Fabric,
    host: HostAddressing,
    options: UdpOptions,
    family: 4 | 6,
    table: PortTable<SimulatedUdpSocket>,
  ) {
    this.#fabric = fabric;
    this.#host = host;
    this.#options = options;
    this.#routes = new DatagramRoutes(options.onMessage?.bind(options));
    this.#family = family;
    this.#table = table;
  }

  get unroutedDatagrams(): number {
    return this.#routes.unrouted;
  }

  /** Connected sockets hear of ICMP errors, as on real systems. */
  get hearsErrors(): boolean {
    return this.remote !== undefined;
  }

  route(match: DatagramMatch, handler: DatagramHandler): Disposable {
    return this.#routes.add(match, handler);
  }

  /** Gives the socket its only remote endpoint. @throws NetError */
  connect(to: Endpoint): void {
    const remote = this.#fabric.address(to.address);
    if (remote?.family !== this.#family || !isPort(to.port)) throw netError('bad-address', 'connect UDP to', to);
    const source = this.#source(remote.text);
    if (source === undefined) throw netError('unreachable', 'connect UDP to', to);
    this.remote = { address: remote.text, port: to.port };
    this.local = { address: source, port: this.local.port };
  }

  /** How well the socket fits a sender: not at all, as any, or as the one that it is connected to. */
  score(from: Endpoint): 0 | 1 | 2 {
    if (this.remote === undefined) return 1;
    return sameEndpoint(this.remote, from) ? 2 : 0;
  }

  send(data: Uint8Array, to: Endpoint): void {
    if (this.#closed) return;
    if (this.remote !== undefined && !sameEndpoint(to, this.remote)) {
      this.#fail('bad-address', to);
      return;
    }
    const destination = this.#fabric.address(to.address);
    const source = destination && this.#source(destination.text);
    const failure = this.#refusal(data, to, destination, source);
    if (failure || !destination || source === undefined) {
      this.#fail(failure ?? 'unreachable', to);
      return;
    }
    const packet = new Packet(
      this.#fabric.nextPacketId(),
      { address: source, port: this.local.port },
      { address: destination.text, port: to.port },
      new Uint8Array(data),
      this,
      this.#fabric.clock.now(),
    );
    packet.broadcast = destination.multicast || this.#host.isBroadcast(destination.text);
    this.#host.send(packet);
  }

  /** Why the system would not take the datagram. */
  #refusal(
    data: Uint8Array,
    to: Endpoint,
    destination: KnownAddress | undefined,
    source: string | undefined,
  ): NetErrorCode | undefined {
    if (destination?.family !== this.#family || !isPort(to.port)) return 'bad-address';
    if (data.length > MAX_UDP_PAYLOAD_BYTES) return 'message-too-big';
    if (!this.#options.broadcast && this.#host.isBroadcast(destination.text)) return 'permission-denied';
    if (source === undefined) return 'unreachable';
    return this.#host.owns(source) ? undefined : 'address-not-available';
  }

  #source(destination: string): string | undefined {
    const { address } = this.local;
    return address === '0.0.0.0' || address === '::' ? this.#host.sourceFor(destination, this.#family) : address;
  }

  /** Broadcasts come to sockets of no particular address, multicasts to those that joined. */
  hears(address: string): boolean {
    if (this.#fabric.address(address)?.multicast) return this.#options.multicastGroups?.includes(address) ?? false;
    return isUnspecified(this.local.address);
  }

  deliver(packet: Packet): void {
    if (this.#closed) {
      this.#fabric.drop(packet, 'no-listener');
      return;
    }
    this.#fabric.delivered(packet);
    if (packet.sourcePort !== this.#from.port || packet.source !== this.#from.address) {
      this.#from = { address: packet.source, port: packet.sourcePort };
    }
    this.#routes.dispatch(packet.payload, this.#from);
  }

  bounced(code: 'unreachable' | 'connection-refused', address: string, port: number): void {
    this.#fail(code, { address, port });
  }

  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      this.#fabric.openSockets--;
      this.#table.release(this, this.local.port);
      this.#options.signal?.removeEventListener('abort', this.abort);
    }
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  readonly abort = (): void => {
    void this.close();
  };

  /** Reports as real sockets do: after `send` has returned. */
  #fail(code: NetErrorCode, to: Endpoint): void {
    queueMicrotask(() => {
      if (!this.#closed) this.#options.onError?.(netError(code, 'send to UDP', to));
    });
  }
}
