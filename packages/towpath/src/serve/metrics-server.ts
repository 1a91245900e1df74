import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Counter, Gauge, Registry } from '@prometheus-io/client';
import { TowpathError } from '@towpath/core';
import { ConnectionLimit, type Endpoint, formatEndpoint, limitPipelining, limitServer } from '@towpath/net';
import { refusalOf } from './web-page-guard.ts';

/** Numbers under their names; objects inside become parts of the name. */
export interface MetricTree {
  readonly [name: string]: number | MetricTree;
}

/** Counters begin with 0 and grow; gauges are states of the moment. */
export interface MetricsOptions {
  /** Names, as in the snapshot and with `_` between their parts, of numbers that may become smaller. */
  readonly gauges: readonly string[] | 'all';
}

/** Nobody needs longer, or more at once; those over the limit are closed. */
const TIMES = {
  requestTimeout: 10_000,
  headersTimeout: 5_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
};
/** One address cannot keep others out: its oldest connection makes room for a new one. */
const CONNECTIONS = { total: 64, perAddress: 32 } as const;

/** A Prometheus page over snapshots that a server keeps anyway: nothing is counted twice. */
export class MetricsServer implements AsyncDisposable {
  readonly #registry = new Registry();
  readonly #server = createServer(TIMES);
  readonly #appended: (() => Promise<string>)[] = [];
  readonly #names: readonly string[];
  #making: Promise<string> | undefined;

  /** @param options.names under which this machine is known, besides its addresses */
  constructor(options: { names?: readonly string[] } = {}) {
    this.#names = options.names ?? [];
  }

  /** Adds the page of somebody who counts for itself, in Prometheus' text format and under other names. */
  append(page: () => Promise<string>): void {
    this.#appended.push(page);
  }

  /**
   * @param snapshot called for every reading of the page
   * @param prefix what all names begin with, such as `towpath_relay`; names of counters end with `_total`
   */
  add(prefix: string, snapshot: () => MetricTree, { gauges }: MetricsOptions): void {
    const isState = (name: string) => gauges === 'all' || gauges.includes(name);
    const registers = [this.#registry];
    for (const [name] of flatten(snapshot())) {
      const help = name.replaceAll('_', ' ');
      const value = () => flatten(snapshot()).get(name) ?? 0;
      if (isState(name)) {
        new Gauge({
          name: `${prefix}_${name}`,
          help,
          registers,
          collect() {
            this.set(value());
          },
        });
      } else {
        new Counter({
          name: `${prefix}_${name}_total`,
          help,
          registers,
          collect() {
            // The snapshot counts; it begins anew when a worker does, as counters may.
            this.reset();
            this.inc(value());
          },
        });
      }
    }
  }

  /** @throws TowpathError `address-in-use` or `network-failed` when the port cannot be had. */
  async listen({ address, port }: Endpoint): Promise<Endpoint> {
    limitServer(this.#server, new ConnectionLimit(CONNECTIONS));
    this.#server.setTimeout(2 * TIMES.requestTimeout);
    const answer = (request: IncomingMessage, response: ServerResponse) => {
      const refusal = refusalOf(request.headers, this.#names);
      if (refusal !== undefined) {
        response.writeHead(403, { 'content-type': 'text/plain; charset=utf-8' }).end(`${refusal}\n`);
        return;
      }
      if (request.method !== 'GET' || request.url !== '/metrics') {
        response.writeHead(404).end();
        return;
      }
      this.#page().then(
        (page) => response.writeHead(200, { 'content-type': this.#registry.contentType }).end(page),
        () => response.writeHead(500).end(),
      );
    };
    this.#server.on('request', limitPipelining(answer, { bodies: false }));
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (cause: NodeJS.ErrnoException) => {
        const code = cause.code === 'EADDRINUSE' ? 'address-in-use' : 'network-failed';
        const where = formatEndpoint({ address, port });
        const why =
          code === 'address-in-use'
            ? 'the port is taken. Next: choose another one, or end the program that has it'
            : cause.message;
        reject(new TowpathError(code, `Metrics cannot be served on ${where}: ${why}.`, { cause }));
      });
      this.#server.listen(port, address, resolve);
    });
    const bound = this.#server.address();
    return { address, port: typeof bound === 'object' && bound !== null ? bound.port : port };
  }

  /** Everybody who asks while it is made gets the same page. */
  #page(): Promise<string> {
    this.#making ??= Promise.all([this.#registry.metrics(), ...this.#appended.map((page) => page())])
      .then((pages) => pages.join('\n'))
      .finally(() => {
        this.#making = undefined;
      });
    return this.#making;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

/** `{ tcp: { openNow: 3 } }` → `tcp_open_now` 3. */
function flatten(tree: MetricTree, before = ''): Map<string, number> {
  const flat = new Map<string, number>();
  for (const [key, value] of Object.entries(tree)) {
    const name = before + key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    if (typeof value === 'number') flat.set(name, value);
    else for (const [inner, count] of flatten(value, `${name}_`)) flat.set(inner, count);
  }
  return flat;
}
