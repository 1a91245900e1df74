import type { ConnectionLimit } from '../connection-limit.ts';
import { isPort } from '../address/endpoint-text.ts';
import { isUnspecified } from '../address/ip.ts';
import type { NetError } from '../net-error.ts';
import type { Endpoint } from '../endpoint.ts';
import type { TcpConnection, TcpConnectOptions, TcpListener, TcpListenOptions } from '../network.ts';
import type { Fabric } from './fabric.ts';
import { Packet } from './packet.ts';
import { PortTable } from './port-table.ts';
import { type ConnectionOwner, SimulatedTcpConnection } from './tcp-connection.ts';
import { bindEndpoint, type HostAddressing, netError } from './udp-stack.ts';

/** The TCP connections and listeners of one host. `tls` is a mere flag here: both sides must agree on it. */
export class TcpStack {
  readonly #fabric: Fabric;
  readonly #host: HostAddressing;
  readonly #tables: { 4: PortTable<object>; 6: PortTable<object> };
  readonly #connections = new Map<string, SimulatedTcpConnection>();

  constructor(fabric: Fabric, host: HostAddressing) {
    this.#fabric = fabric;
    this.#host = host;
    this.#tables = { 4: new PortTable(fabric.random), 6: new PortTable(fabric.random) };
  }

  async connect(to: Endpoint, options: TcpConnectOptions): Promise<TcpConnection> {
    const { signal } = options;
    signal?.throwIfAborted();
    const remote = this.#fabric.address(to.address);
    if (!remote || !isPort(to.port)) throw netError('bad-address', 'connect to TCP', to);
    const source = this.#host.sourceFor(remote.text, remote.family);
    if (source === undefined) throw netError('unreachable', 'connect to TCP', to);
    const table = this.#tables[remote.family];
    const wanted = { address: options.localAddress ?? source, port: options.localPort ?? 0 };
    const holder = {};
    const local = bindEndpoint(this.#fabric, this.#host, table, holder, wanted, remote.family, false);
    const from = { address: isUnspecified(local.address) ? source : local.address, port: local.port };
    return await new Promise<TcpConnection>((resolve, reject) => {
      const ends = { local: from, remote: { address: remote.text, port: to.port } };
      const abort = () => {
        connection.destroy();
        reject(signal?.reason);
      };
      const owner: ConnectionOwner = {
        opened: () => {
          connection.attach(options);
          resolve(connection);
        },
        failed: (_connection, error) => reject(error),
        released: () => {
          signal?.removeEventListener('abort', abort);
          table.release(holder, local.port);
          this.#remove(connection);
        },
      };
      const connection = this.#add(ends, owner, 'syn', options.tls !== undefined);
      signal?.addEventListener('abort', abort, { once: true });
      connection.greet();
    });
  }

  async listen(options: TcpListenOptions): Promise<TcpListener> {
    const { signal } = options;
    signal?.throwIfAborted();
    const wanted = { address: options.address ?? '0.0.0.0', port: options.port ?? 0 };
    const table = this.#tables[wanted.address.includes(':') ? 6 : 4];
    const listener = new SimulatedTcpListener(this.#fabric, table, options);
    listener.local = bindEndpoint(this.#fabric, this.#host, table, listener, wanted, undefined, false);
    this.#fabric.openSockets++;
    await Promise.resolve();
    if (signal?.aborted) {
      await listener.close();
      throw signal.reason;
    }
    signal?.addEventListener('abort', listener.stop, { once: true });
    return listener;
  }

  receive(packet: Packet): void {
    const { segment } = packet;
    if (!segment) return;
    this.#fabric.delivered(packet);
    const local = { address: packet.destination, port: packet.destinationPort };
    const remote = { address: packet.source, port: packet.sourcePort };
    const connection = this.#connections.get(connectionKey(local, remote));
    if (connection) connection.receive(segment, packet.payload);
    else if (segment.kind === 'syn') this.#accept(local, remote, segment.tls);
    else if (segment.kind !== 'reset') this.#refuse(local, remote, false);
  }

  #accept(local: Endpoint, remote: Endpoint, tls: boolean): void {
    const found = this.#tables[local.address.includes(':') ? 6 : 4].find(local.address, local.port);
    if (!(found instanceof SimulatedTcpListener)) {
      this.#refuse(local, remote, false);
      return;
    }
    if (tls !== found.tls) {
      this.#refuse(local, remote, true);
      found.report(netError('tls-failed', 'accept TCP from', remote));
      return;
    }
    const { limit } = found;
    if (limit?.enter(local, remote, () => this.#connections.get(connectionKey(local, remote))?.destroy()) === false) {
      this.#refuse(local, remote, tls);
      return;
    }
    const owner: ConnectionOwner = {
      opened: (connection) => found.accept(connection),
      // A client that disconnected before the handshake was complete is not reported.
      failed: () => {},
      released: (connection) => {
        limit?.leave(local, remote);
        found.connections.delete(connection);
        this.#remove(connection);
      },
    };
    const connection = this.#add({ local, remote }, owner, 'syn-ack', tls);
    found.connections.add(connection);
    connection.greet();
  }

  /** Answers with a reset, as systems do to what they know nothing of. */
  #refuse(local: Endpoint, remote: Endpoint, tls: boolean): void {
    const segment = { kind: 'reset', sequence: 0, acknowledged: 0, end: false, tls } as const;
    const id = this.#fabric.nextPacketId();
    const nobody = { bounced: () => {} };
    const reset = new Packet(id, local, remote, new Uint8Array(0), nobody, this.#fabric.clock.now(), segment);
    this.#host.send(reset);
  }

  #add(
    ends: { local: Endpoint; remote: Endpoint },
    owner: ConnectionOwner,
    greeting: 'syn' | 'syn-ack',
    tls: boolean,
  ): SimulatedTcpConnection {
    const connection = new SimulatedTcpConnection(this.#fabric, this.#host, owner, ends, greeting, tls);
    this.#connections.set(connectionKey(ends.local, ends.remote), connection);
    this.#fabric.openSockets++;
    return connection;
  }

  #remove(connection: SimulatedTcpConnection): void {
    this.#connections.delete(connectionKey(connection.local, connection.remote));
    this.#fabric.openSockets--;
  }
}

class SimulatedTcpListener implements TcpListener {
  local: Endpoint = { address: '', port: 0 };
  readonly tls: boolean;
  readonly limit: ConnectionLimit | undefined;
  readonly connections = new Set<SimulatedTcpConnection>();
  readonly #fabric: Fabric;
  readonly #table: PortTable<object>;
  readonly #options: TcpListenOptions;
  #stopped = false;

  constructor(fabric: Fabric, table: PortTable<object>, options: TcpListenOptions) {
    this.#fabric = fabric;
    this.#table = table;
    this.#options = options;
    this.tls = options.tls !== undefined;
    this.limit = options.limit;
  }

  accept(connection: SimulatedTcpConnection): void {
    if (this.#stopped) connection.destroy();
    else connection.attach(this.#options.onConnection(connection));
  }

  report(error: NetError): void {
    this.#options.onError?.(error);
  }

  close(): Promise<void> {
    this.stop();
    for (const connection of [...this.connections]) connection.destroy();
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Stops accepting; connections live on. */
  readonly stop = (): void => {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#options.signal?.removeEventListener('abort', this.stop);
    this.#fabric.openSockets--;
    this.#table.release(this, this.local.port);
  };
}

function connectionKey(local: Endpoint, remote: Endpoint): string {
  return `${local.address}|${local.port}|${remote.address}|${remote.port}`;
}
