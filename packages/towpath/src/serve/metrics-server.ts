import { createServer } from 'node:http';
import { Gauge, Registry } from '@prometheus-io/client';
import { TowpathError } from '@towpath/core';
import type { Endpoint } from '@towpath/net';

/** Numbers under their names; objects inside become parts of the name. */
export interface MetricTree {
  readonly [name: string]: number | MetricTree;
}

/** A Prometheus page over snapshots that a server keeps anyway: nothing is counted twice. */
export class MetricsServer implements AsyncDisposable {
  readonly #registry = new Registry();
  readonly #server = createServer();
  readonly #appended: (() => Promise<string>)[] = [];

  /** Adds the page of somebody who counts for itself, in Prometheus' text format and under other names. */
  append(page: () => Promise<string>): void {
    this.#appended.push(page);
  }

  /**
   * @param snapshot called for every reading of the page
   * @param prefix what all names begin with, such as `towpath_relay`
   */
  add(prefix: string, snapshot: () => MetricTree): void {
    for (const [name] of flatten(snapshot())) {
      new Gauge({
        name: `${prefix}_${name}`,
        help: name.replaceAll('_', ' '),
        registers: [this.#registry],
        collect() {
          this.set(flatten(snapshot()).get(name) ?? 0);
        },
      });
    }
  }

  /** @throws TowpathError `address-in-use` or `network-failed` when the port cannot be had. */
  async listen({ address, port }: Endpoint): Promise<Endpoint> {
    this.#server.on('request', (request, response) => {
      if (request.method !== 'GET' || request.url !== '/metrics') {
        response.writeHead(404).end();
        return;
      }
      Promise.all([this.#registry.metrics(), ...this.#appended.map((page) => page())]).then(
        (pages) => response.writeHead(200, { 'content-type': this.#registry.contentType }).end(pages.join('\n')),
        () => response.writeHead(500).end(),
      );
    });
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (cause: NodeJS.ErrnoException) => {
        const code = cause.code === 'EADDRINUSE' ? 'address-in-use' : 'network-failed';
        reject(new TowpathError(code, `Metrics cannot be served on ${address}:${port}: ${cause.message}`, { cause }));
      });
      this.#server.listen(port, address, resolve);
    });
    const bound = this.#server.address();
    return { address, port: typeof bound === 'object' && bound !== null ? bound.port : port };
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
