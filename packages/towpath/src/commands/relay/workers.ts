import { type ChildProcess, fork } from 'node:child_process';
import { type Clock, type Log, type Timer, TowpathError } from '@towpath/core';
import type { PlaneReport } from '../../serve/kernel-plane.ts';
import type { RelayPlan } from './plan.ts';
import { addMetrics, type Listening, type RelayMetrics } from './relay-node.ts';
import type { FromWorker, ToWorker } from './worker-messages.ts';

/** A worker that ended is restarted after this time, doubled each time. */
const FIRST_RESTART_MS = 500;
const MAX_RESTART_MS = 30_000;
/** A worker that ran for this long counts as started. */
const SETTLED_MS = 60_000;
/** Workers that do not end within this time are killed. */
const CLOSE_LIMIT_MS = 3_000;

interface Worker {
  child: ChildProcess;
  metrics: RelayMetrics;
  startedAt: number;
  failures: number;
  restart: Timer | undefined;
}

/**
 * Processes that serve the same ports. The kernel assigns clients to them by a hash of addresses and ports; they share
 * nothing but secrets. When one ends, clients may be assigned to another process, where they must allocate again.
 */
export class RelayWorkers implements AsyncDisposable {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #verbose: boolean;
  readonly #workers: Worker[] = [];
  #plan: RelayPlan;
  #listening: readonly Listening[] = [];
  #dataPlane: PlaneReport = { plane: 'user', reason: '' };
  #restarts = 0;
  #closing = false;

  private constructor(components: { clock: Clock; log: Log; verbose: boolean }, plan: RelayPlan) {
    this.#clock = components.clock;
    this.#log = components.log.child('WORKERS');
    this.#verbose = components.verbose;
    this.#plan = plan;
  }

  /** @throws TowpathError with the code of the first worker that failed; then none is left running. */
  static async start(
    components: { clock: Clock; log: Log; verbose: boolean },
    plan: RelayPlan,
    count: number,
  ): Promise<RelayWorkers> {
    const workers = new RelayWorkers(components, plan);
    try {
      // The first worker determines the ports that the system chooses.
      workers.#listening = await workers.#add();
      workers.#plan = withPorts(plan, workers.#listening);
      await Promise.all(Array.from({ length: count - 1 }, () => workers.#add()));
    } catch (error) {
      await workers[Symbol.asyncDispose]();
      throw error;
    }
    return workers;
  }

  get listening(): readonly Listening[] {
    return this.#listening;
  }

  /** The data plane of the first worker; the others choose as it does. */
  get dataPlane(): PlaneReport {
    return this.#dataPlane;
  }

  /** Counters of all workers together, about a second old. */
  get metrics(): RelayMetrics {
    const running = this.#workers.filter(({ child }) => child.exitCode === null && child.signalCode === null);
    return {
      ...addMetrics(this.#workers.map(({ metrics }) => metrics)),
      workers: running.length,
      workerRestarts: this.#restarts,
    };
  }

  get pids(): number[] {
    return this.#workers.flatMap(({ child }) => child.pid ?? []);
  }

  /** Ends all workers. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true;
    await Promise.all(
      this.#workers.map(async ({ child, restart }) => {
        restart?.cancel();
        if (child.exitCode !== null || child.signalCode !== null) return;
        const gone = new Promise((resolve) => child.once('exit', resolve));
        using _limit = this.#clock.timer(CLOSE_LIMIT_MS, () => child.kill('SIGKILL'));
        if (child.connected) send(child, { type: 'close' });
        await gone;
      }),
    );
  }

  async #add(): Promise<readonly Listening[]> {
    const worker: Worker = {
      child: this.#fork(),
      metrics: {},
      startedAt: this.#clock.now(),
      failures: 0,
      restart: undefined,
    };
    this.#workers.push(worker);
    const listening = await this.#ready(worker);
    this.#watch(worker);
    return listening;
  }

  #fork(): ChildProcess {
    // Secrets are sent by message, because every user can read command lines.
    const child = fork(new URL('./worker-process.ts', import.meta.url), { execArgv: [], serialization: 'advanced' });
    send(child, { type: 'open', plan: this.#plan, verbose: this.#verbose });
    return child;
  }

  /** Resolves when the worker listens. */
  #ready(worker: Worker): Promise<readonly Listening[]> {
    const { child } = worker;
    return new Promise((resolve, reject) => {
      child.on('message', (message: FromWorker) => {
        if (message.type === 'listening') {
          this.#dataPlane = message.dataPlane;
          resolve(message.listening);
        } else if (message.type === 'failed') reject(new TowpathError(message.code, message.message));
        else worker.metrics = message.metrics;
      });
      child.once('error', reject);
      child.once('exit', () =>
        reject(new TowpathError('worker-failed', 'A worker process ended before it was listening.')),
      );
    });
  }

  /** Restarts the worker when it ends without a request. */
  #watch(worker: Worker): void {
    worker.child.once('exit', (code, signal) => {
      if (this.#closing) return;
      const lived = this.#clock.now() - worker.startedAt;
      worker.failures = lived > SETTLED_MS ? 1 : worker.failures + 1;
      const waitMs = Math.min(MAX_RESTART_MS, FIRST_RESTART_MS * 2 ** (worker.failures - 1));
      this.#log.warn('worker ended, restarting', { pid: worker.child.pid, code, signal, waitMs });
      worker.restart = this.#clock.timer(waitMs, () => this.#restart(worker));
    });
  }

  #restart(worker: Worker): void {
    this.#restarts++;
    worker.startedAt = this.#clock.now();
    worker.metrics = {};
    worker.child = this.#fork();
    this.#ready(worker).then(
      () => this.#log.info('worker restarted', { pid: worker.child.pid }),
      (error: unknown) => this.#log.error('cannot restart worker', { error }),
    );
    this.#watch(worker);
  }
}

function send(child: ChildProcess, message: ToWorker): void {
  // A failure to send shows that the worker ended, which its exit event reports.
  child.send(message, () => {});
}

/** Returns the plan with the ports that the system chose. */
function withPorts(plan: RelayPlan, listening: readonly Listening[]): RelayPlan {
  const portOf = (what: Listening['what']) => listening.find((one) => one.what === what)?.endpoints[0]?.port;
  const { tls } = plan;
  return {
    ...plan,
    port: portOf('udp') ?? plan.port,
    ...(tls === undefined ? {} : { tls: { ...tls, port: portOf('tls') ?? tls.port } }),
  };
}
