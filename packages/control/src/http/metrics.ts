import { Counter, Gauge, Histogram, Registry } from '@prometheus-io/client';
import type { ControlService } from '../server/service.ts';

interface SocketCounts {
  readonly open: number;
  readonly bufferedBytes: number;
  readonly connections: { readonly open: number; readonly unproven: number };
}

/** The numbers of a control server, for Prometheus. */
export class ControlMetrics {
  readonly #registry = new Registry();
  readonly #requests: Counter<'route' | 'status'>;
  readonly #duration: Histogram<'route'>;
  readonly #refused: Counter<'reason'>;

  constructor(service: ControlService, sockets: () => SocketCounts) {
    const registers = [this.#registry];
    const gauge = (name: string, help: string, value: () => number) =>
      new Gauge({
        name: `towpath_control_${name}`,
        help,
        registers,
        collect() {
          this.set(value());
        },
      });
    gauge('connected_nodes', 'Nodes connected to this server', () => service.counts.sessions);
    gauge('followed_parties', 'Parties with a connected member', () => service.counts.followedParties);
    gauge('servers', 'Control servers on the same store', () => service.counts.servers);
    gauge('sockets', 'Open WebSockets', () => sockets().open);
    gauge('connections', 'Open TCP connections, TLS handshakes included', () => sockets().connections.open);
    gauge(
      'unproven_connections',
      'Open TCP connections without an accepted request yet: idle, slow, in a TLS handshake',
      () => sockets().connections.unproven,
    );
    gauge('buffered_bytes', 'Bytes that nodes have not taken in yet', () => sockets().bufferedBytes);
    new Gauge({
      name: 'towpath_control_limit',
      help: 'Limits of one party and of all parties of one founder',
      labelNames: ['limit'],
      registers,
      collect() {
        for (const [limit, value] of Object.entries(service.limits.options)) this.set({ limit }, value);
      },
    });
    const counted: Record<string, number> = {};
    new Counter({
      name: 'towpath_control_limit_reached_total',
      help: 'Requests refused because a party or a founder was at a limit',
      labelNames: ['limit'],
      registers,
      collect() {
        for (const [limit, value] of Object.entries(service.limits.reached)) {
          this.inc({ limit }, value - (counted[limit] ?? 0));
          counted[limit] = value;
        }
      },
    });
    gauge('memory_bytes', 'Resident memory of the process', () => process.memoryUsage.rss());
    const counter = (name: string, help: string, value: () => number) => {
      let last = 0;
      return new Counter({
        name: `towpath_control_${name}`,
        help,
        registers,
        collect() {
          const now = value();
          this.inc(now - last);
          last = now;
        },
      });
    };
    counter('statements_total', 'Statements added to logs of parties', () => service.counts.statements);
    counter('signals_total', 'Signals that their receivers have confirmed', () => service.counts.signals);
    counter(
      'signals_undelivered_total',
      'Signals that were not confirmed; their senders were told',
      () => service.counts.undelivered,
    );
    this.#requests = new Counter({
      name: 'towpath_control_requests_total',
      help: 'HTTP requests by route and status',
      labelNames: ['route', 'status'],
      registers,
    });
    this.#duration = new Histogram({
      name: 'towpath_control_request_seconds',
      help: 'Time to answer HTTP requests',
      labelNames: ['route'],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2],
      registers,
    });
    this.#refused = new Counter({
      name: 'towpath_control_refused_total',
      help: 'Requests, connections and messages refused, by reason',
      labelNames: ['reason'],
      registers,
    });
  }

  readonly contentType = 'text/plain; version=0.0.4; charset=utf-8';

  request(route: string, status: number, durationMs: number): void {
    this.#requests.inc({ route, status: `${status}` });
    this.#duration.observe({ route }, durationMs / 1_000);
  }

  refused(reason: string): void {
    this.#refused.inc({ reason });
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }
}
