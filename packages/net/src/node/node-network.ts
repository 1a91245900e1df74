import { uptime } from 'node:os';
import { type Clock, SystemClock } from '@towpath/core';
import { ChangeWatcher } from '../change-watcher.ts';
import type { DefaultRoute, DefaultRouteOptions } from '../default-route.ts';
import type { Endpoint } from '../endpoint.ts';
import type {
  InterfaceAddress,
  Network,
  ResolveOptions,
  TcpConnection,
  TcpConnectOptions,
  TcpListener,
  TcpListenOptions,
  UdpOptions,
  UdpSocket,
} from '../network.ts';
import type { NetworkChanges } from '../network-changes.ts';
import { nodeInterfaces } from './node-interfaces.ts';
import { NodeNames } from './node-names.ts';
import { nodeDefaultRoute } from './node-routes.ts';
import { connectNodeTcp, listenNodeTcp } from './node-tcp.ts';
import { bindNodeUdp } from './node-udp.ts';

/** How often the interfaces and routes are looked at while someone listens for changes; Linux tells both at little cost. */
const POLL_MS = process.platform === 'linux' ? 2_000 : 15_000;

/**
 * The network of this machine, on Node's own sockets.
 *
 * UDP sends take IP literals only; `connectTcp` also takes host names.
 *
 * @example
 * const network = new NodeNetwork();
 * await using socket = await network.bindUdp({ onMessage: (data, from) => socket.send(data, from) });
 * console.log(`echo on port ${socket.local.port}`);
 */
export class NodeNetwork implements Network {
  readonly changes: NetworkChanges;
  readonly #clock: Clock;
  readonly #names: NodeNames;

  /**
   * @param components.clock cuts off connections whose other side never ends, and says when to look for changes
   * @param options.pollMs how often it looks for changes while somebody listens, ms. @default 2000 on Linux, otherwise 15000
   */
  constructor(components: { clock?: Clock } = {}, { pollMs = POLL_MS }: { pollMs?: number } = {}) {
    const clock = components.clock ?? new SystemClock();
    this.#clock = clock;
    this.#names = new NodeNames({ clock });
    const snapshot = async () => ({ interfaces: nodeInterfaces(), routes: await this.#defaultRoutes() });
    this.changes = new ChangeWatcher({ clock, snapshot, uptimeMs: () => uptime() * 1_000 }, { pollMs });
  }

  bindUdp(options: UdpOptions): Promise<UdpSocket> {
    return bindNodeUdp(options);
  }

  connectTcp(to: Endpoint, options: TcpConnectOptions): Promise<TcpConnection> {
    return connectNodeTcp(this.#clock, to, options);
  }

  listenTcp(options: TcpListenOptions): Promise<TcpListener> {
    return listenNodeTcp(this.#clock, options);
  }

  interfaces(): InterfaceAddress[] {
    return nodeInterfaces();
  }

  /** Reads the hosts file, then asks the system's name servers; names of one label and `.local` go to the system too. */
  resolve(name: string, options?: ResolveOptions): Promise<string[]> {
    return this.#names.resolve(name, options);
  }

  defaultRoute(options?: DefaultRouteOptions): Promise<DefaultRoute | undefined> {
    return nodeDefaultRoute(nodeInterfaces, options);
  }

  async #defaultRoutes(): Promise<DefaultRoute[]> {
    const routes = await Promise.all(([4, 6] as const).map((family) => this.defaultRoute({ family })));
    return routes.filter((route) => route !== undefined);
  }
}
