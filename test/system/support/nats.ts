import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { connect } from 'node:net';
import { join } from 'node:path';
import { freePorts } from '../../../packages/net/test/free-port.ts';

export function natsAvailable(): boolean {
  return spawnSync('nats-server', ['--version']).status === 0;
}

/** A NATS server with JetStream on loopback. */
export class NatsNode {
  readonly address: string;
  readonly #port: number;
  readonly #args: readonly string[];
  #process: ChildProcess | undefined;

  private constructor(port: number, args: readonly string[]) {
    this.address = `127.0.0.1:${port}`;
    this.#port = port;
    this.#args = ['-js', '-a', '127.0.0.1', '-p', String(port), ...args];
  }

  /** One that is no cluster, not yet started. */
  static async single(folder: string): Promise<NatsNode> {
    const [port] = await freePorts(1);
    return new NatsNode(port!, ['-sd', join(folder, 'nats')]);
  }

  /** The servers of a cluster, not yet started. */
  static async cluster(count: number, folder: string): Promise<NatsNode[]> {
    const ports = await freePorts(2 * count);
    const routes = ports.slice(count).map((port) => `nats://127.0.0.1:${port}`);
    return routes.map((route, at) => {
      const own = ['-sd', join(folder, `nats-${at}`), '-n', `n${at}`, '--cluster_name', 'towpath', '--cluster', route];
      return new NatsNode(ports[at]!, [...own, '--routes', routes.join(',')]);
    });
  }

  async start(): Promise<void> {
    this.#process = spawn('nats-server', this.#args, { stdio: 'ignore' });
    for (let tries = 0; !(await this.#answers()); tries++) {
      if (tries > 100) throw new Error(`nats-server does not listen on ${this.address}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** kill -9 */
  async kill(): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    if (running === undefined || running.exitCode !== null) return;
    const gone = new Promise((resolve) => running.once('exit', resolve));
    running.kill('SIGKILL');
    await gone;
  }

  #answers(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = connect(this.#port, '127.0.0.1', () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => resolve(false));
    });
  }
}
