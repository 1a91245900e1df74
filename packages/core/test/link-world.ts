import { type ConnectContext, Link, type PathKind, PathReason, SeededRandom, TowpathError } from '../src/index.ts';
import { VirtualClock } from '../src/testing.ts';

/** One way to the target. A path over it works until the NAT on it forgets the binding that the path has. */
interface Route {
  readonly name: string;
  readonly kind: PathKind;
  readonly rttMs: number;
  readonly jitterMs: number;
  readonly lossRatio: number;
  binding: number;
  up: boolean;
}

interface SimulatedPath {
  readonly id: string;
  readonly route: Route;
  readonly binding: number;
}

export interface LinkWorldOptions {
  /** Faults, and observers that throw and call back, happen for this long, ms. */
  chaosMs: number;
  /** Then nothing changes any more for this long, ms. */
  steadyMs: number;
}

export interface LinkWorldResult {
  /** What was wrong; empty when all was well. */
  readonly violations: readonly string[];
  /** Changes of the current path in the steady time, and what the link had done by its end. */
  readonly steadySwitches: number;
  readonly connects: number;
  readonly losses: number;
  readonly upAtTheEnd: boolean;
}

const KINDS: readonly PathKind[] = ['lan', 'p2p', 'p2p', 'relay'];
/** From the end of the faults until a link with a working route must be up, ms. */
const RECOVERY_MS = 10_000;

/**
 * A link in a world of routes that lose, delay, die and change their NAT bindings, with observers that throw and call
 * back into the link. Everything follows from `seed`.
 */
export async function simulateLink(seed: number, options: LinkWorldOptions): Promise<LinkWorldResult> {
  const world = new LinkWorld(seed, options);
  return await world.run();
}

class LinkWorld {
  readonly #clock = new VirtualClock();
  readonly #random: SeededRandom;
  readonly #options: LinkWorldOptions;
  readonly #routes: Route[];
  readonly #link: Link<SimulatedPath>;
  readonly #open = new Map<SimulatedPath, (error: TowpathError) => void>();
  readonly #violations: string[] = [];
  readonly #stops: (() => void)[] = [];
  #current: SimulatedPath | undefined;
  #chaos = true;
  #made = 0;
  #released = 0;
  #connects = 0;
  #losses = 0;
  #steadySwitches = 0;
  #closing: Promise<void> | undefined;

  constructor(seed: number, options: LinkWorldOptions) {
    this.#random = new SeededRandom(seed);
    this.#options = options;
    this.#routes = Array.from({ length: 1 + this.#below(4) }, (_, index) => this.#route(index));
    this.#link = this.#makeLink();
    this.#watchLink();
  }

  async run(): Promise<LinkWorldResult> {
    const { chaosMs, steadyMs } = this.#options;
    this.#link.start();
    const waiter = this.#link.ready().then(
      () => 'path',
      (error: unknown) => (error instanceof TowpathError ? 'error' : 'not an error of the engine'),
    );
    while (this.#clock.now() < chaosMs) {
      await this.#clock.advance(this.#between(50, 1_500));
      this.#disturb();
      this.#check();
    }
    this.#chaos = false;
    for (const route of this.#routes) route.up = true;
    this.#link.refresh(PathReason.networkChanged);
    await this.#clock.advance(RECOVERY_MS);
    const up = this.#link.phase === 'up';
    if (!up && this.#closing === undefined) this.#wrong(`is ${this.#link.phase} although every route works`);
    this.#steadySwitches = 0;
    await this.#clock.advance(steadyMs);
    this.#check();
    const switches = this.#steadySwitches;
    this.#closing ??= this.#link.close();
    await this.#clock.runUntil(this.#closing, 60_000);
    // A deaf connect may still bring a path, which nobody takes any more.
    await this.#clock.advance(30_000);
    const waited = await this.#clock.runUntil(waiter, 1_000);
    if (waited === 'not an error of the engine') this.#wrong('rejected those who wait with a foreign error');
    this.#checkEnd();
    return {
      violations: this.#violations,
      steadySwitches: switches,
      connects: this.#connects,
      losses: this.#losses,
      upAtTheEnd: up,
    };
  }

  #route(index: number): Route {
    const kind = KINDS[this.#below(KINDS.length)]!;
    const rttMs = kind === 'relay' ? this.#between(30, 200) : this.#between(2, 120);
    return {
      name: `${kind}-${index}`,
      kind,
      rttMs,
      jitterMs: rttMs * 0.3 * this.#random.next(),
      lossRatio: this.#random.next() < 0.5 ? 0 : 0.08 * this.#random.next(),
      binding: 0,
      up: this.#random.next() < 0.8,
    };
  }

  #makeLink(): Link<SimulatedPath> {
    const clock = this.#clock;
    const probes = this.#random.next() < 0.8;
    return new Link<SimulatedPath>(
      { clock },
      {
        target: 'peer.test',
        connect: (context) => this.#connect(context),
        describe: ({ id, route }) => ({ id, kind: route.kind, label: route.name, rttMs: route.rttMs }),
        watch: (path, { signal }) => this.#watch(path, signal),
        release: (path) => this.#release(path),
        probe: probes ? (path, signal) => this.#probe(path, signal) : undefined,
        drain: this.#random.next() < 0.5 ? (_path, signal) => clock.sleep(this.#between(0, 9_000), signal) : undefined,
        selection: { standbys: this.#below(3), redundancy: this.#random.next() < 0.2 ? 2 : 1 },
        improve: { wanted: ({ kind }) => kind === 'relay', delaysMs: () => [2_000, 5_000, 15_000], limitMs: 3_000 },
        first: { delaysMs: () => [500, 1_000], limitMs: 20_000, slowRetryMs: 3_000 },
        again: { delaysMs: () => [200, 400, 800], slowRetryMs: 3_000 },
      },
    );
  }

  /** Tries the routes that work; may bring several paths, fail, ignore its signal, or throw. */
  #connect(context: ConnectContext<SimulatedPath>): Promise<SimulatedPath> {
    this.#connects++;
    if (context.signal.aborted) this.#wrong('began a try that was over');
    if (this.#chaos && this.#random.next() < 0.03) throw new TowpathError('no-socket', 'No socket could be opened.');
    return this.#tryRoutes(context);
  }

  async #tryRoutes({ signal, offer, goesOn }: ConnectContext<SimulatedPath>): Promise<SimulatedPath> {
    const deaf = this.#chaos && this.#random.next() < 0.1;
    const heard = deaf ? undefined : signal;
    await this.#clock.sleep(this.#between(0, 400), heard);
    const working = this.#routes.filter(({ up }) => up);
    const first = working[this.#below(working.length)];
    if (first === undefined || (this.#chaos && this.#random.next() < 0.2)) {
      throw new TowpathError('no-answer', 'No route answered.');
    }
    await this.#clock.sleep(first.rttMs, heard);
    for (const route of working) {
      if (route === first || this.#random.next() < 0.4) continue;
      const later = this.#between(0, 2_000);
      goesOn(this.#clock.sleep(later, heard).then(() => offer(this.#path(route))));
    }
    return this.#path(first);
  }

  #path(route: Route): SimulatedPath {
    this.#made++;
    // The same binding of the same route is the same path to a set: its second copy is released at once.
    const path = { id: `${route.name}#${route.binding}`, route, binding: route.binding };
    this.#open.set(path, () => {});
    return path;
  }

  #works({ route, binding }: SimulatedPath): boolean {
    return route.up && route.binding === binding;
  }

  async #probe(path: SimulatedPath, signal: AbortSignal): Promise<undefined> {
    const { rttMs, jitterMs, lossRatio } = path.route;
    const lost = this.#random.next() < lossRatio;
    if (lost || !this.#works(path)) {
      await this.#silence(signal);
      return undefined;
    }
    await this.#clock.sleep(rttMs + jitterMs * this.#random.next(), signal);
    return undefined;
  }

  #silence(signal: AbortSignal): Promise<never> {
    return new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
  }

  #watch(path: SimulatedPath, signal: AbortSignal): Promise<TowpathError> {
    return new Promise((resolve, reject) => {
      this.#open.set(path, resolve);
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
  }

  async #release(path: SimulatedPath): Promise<void> {
    this.#released++;
    if (!this.#open.delete(path)) this.#wrong(`released ${path.id} twice`);
    if (this.#link.path === path) this.#wrong(`released ${path.id} while it is the current path`);
    if (this.#random.next() < 0.3) await this.#clock.sleep(this.#between(0, 300));
    if (this.#chaos && this.#random.next() < 0.05) throw new Error('release');
  }

  /** One fault: a route fails or comes back, a NAT changes its binding, a path closes, or somebody calls the link. */
  #disturb(): void {
    const route = this.#routes[this.#below(this.#routes.length)]!;
    switch (this.#below(6)) {
      case 0:
        route.up = !route.up;
        return;
      case 1:
        route.binding++;
        if (this.#random.next() < 0.7) this.#closeDead();
        return;
      case 2: {
        const victim = [...this.#open][this.#below(this.#open.size)];
        victim?.[1](new TowpathError('session-dead', 'The other end closed the path.'));
        return;
      }
      case 3:
        this.#link.refresh(PathReason.networkChanged);
        return;
      case 4:
        for (const path of [this.#link.path]) if (path) this.#link.paths.sent(path);
        return;
      default:
        this.#callBack();
    }
  }

  /** Without probes only the watch tells that a path does not work any more. */
  #closeDead(): void {
    for (const [path, close] of this.#open) {
      if (!this.#works(path)) close(new TowpathError('session-dead', 'The NAT forgot the path.'));
    }
  }

  #watchLink(): void {
    const { events, paths } = this.#link;
    this.#stops.push(
      paths.events.on('current', ({ path, previous }) => {
        if (previous !== this.#current) this.#wrong('told of a previous path that was not the current one');
        this.#current = path;
        if (path && previous) this.#steadySwitches++;
        if (path === undefined) this.#losses++;
      }),
    );
    for (const name of ['phase', 'up', 'down', 'tryFailed', 'gaveUp'] as const) {
      this.#stops.push(events.on(name, () => this.#observe()));
    }
    for (const name of ['current', 'standby', 'health', 'added', 'removed'] as const) {
      this.#stops.push(paths.events.on(name, () => this.#observe()));
    }
  }

  #observe(): void {
    this.#checkRoles();
    if (!this.#chaos) return;
    if (this.#random.next() < 0.1) this.#callBack();
    if (this.#random.next() < 0.2) throw new Error('observer');
  }

  /** What an observer, or anybody, may do with a link at any time. */
  #callBack(): void {
    const link = this.#link;
    switch (this.#below(8)) {
      case 0:
        if (link.path) link.reportLoss(link.path, new TowpathError('refused', 'An observer does not want it.'));
        return;
      case 1:
        link.add(this.#path(this.#routes[this.#below(this.#routes.length)]!));
        return;
      case 2:
        link.refresh(PathReason.requested);
        return;
      case 3:
        link.start();
        return;
      case 4:
        link.paths.configure({ standbys: this.#below(3) });
        return;
      case 5:
        link.paths.wake();
        return;
      case 6:
        // Rarely, for it ends the story.
        if (this.#random.next() < 0.05) this.#closing ??= link.close();
        return;
      default:
        link.ready().catch(() => {});
    }
  }

  #checkRoles(): void {
    const current = this.#link.paths.status().filter(({ role }) => role === 'current');
    if (current.length > 1) this.#wrong(`has ${current.length} current paths`);
    if (current[0]?.path !== this.#link.path) this.#wrong('has a current path of another role');
    if (this.#link.path && !this.#open.has(this.#link.path)) this.#wrong('uses a path that was released');
  }

  /** Between two steps: every event has been handled and every observer told. */
  #check(): void {
    this.#checkRoles();
    if (this.#link.path !== this.#current) this.#wrong('did not tell of its current path');
    if ((this.#link.phase === 'up') !== (this.#link.path !== undefined)) {
      this.#wrong(`is ${this.#link.phase} with${this.#link.path ? '' : 'out'} a path`);
    }
  }

  #checkEnd(): void {
    for (const stop of this.#stops) stop();
    const { phase, paths, events } = this.#link;
    if (phase !== 'closed') this.#wrong(`is ${phase} after it was closed`);
    if (this.#clock.pendingTimers > 0) this.#wrong(`left ${this.#clock.pendingTimers} timers`);
    if (paths.size > 0) this.#wrong(`kept ${paths.size} paths`);
    if (this.#open.size > 0 || this.#released !== this.#made) {
      this.#wrong(`made ${this.#made} paths and released ${this.#released}`);
    }
    for (const name of ['phase', 'up', 'down', 'tryFailed', 'gaveUp'] as const) {
      if (events.count(name) > 0) this.#wrong(`left ${events.count(name)} listeners of ${name}`);
    }
  }

  #wrong(what: string): void {
    this.#violations.push(`at ${Math.round(this.#clock.now())} ms the link ${what}`);
  }

  #below(count: number): number {
    return Math.floor(this.#random.next() * count);
  }

  #between(least: number, most: number): number {
    return least + (most - least) * this.#random.next();
  }
}
