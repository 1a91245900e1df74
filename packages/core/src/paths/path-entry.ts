import type { TowpathError } from '../errors.ts';
import type { MonitorTimes, PathHealth } from './monitor.ts';
import type { Monitor, MonitorOptions } from './path-monitor.ts';
import type { PathReason } from './path-reason.ts';
import type { PathDescription, PathSetOptions } from './path-set-options.ts';
import type { SelectionOptions } from './selection.ts';

export type PathSetEvent<Path> =
  | { type: 'add'; path: Path; replaced: readonly Path[] }
  | { type: 'remove'; entry: PathEntry<Path>; reason: PathReason; error: TowpathError | undefined }
  | { type: 'health'; entry: PathEntry<Path>; health: PathHealth }
  | { type: 'measured'; entry: PathEntry<Path> }
  | { type: 'missed'; entry: PathEntry<Path> }
  | { type: 'options'; options: SelectionOptions }
  | { type: 'close' };

interface PathEntryComponents<Path> {
  readonly options: Pick<PathSetOptions<Path>, 'probe' | 'times'>;
  /** Takes what the monitor tells. */
  readonly run: { dispatch(event: PathSetEvent<Path>): void };
}

/** One path of a set. It is also what its monitor is told, so that a path has no functions of its own: there may be thousands. */
export class PathEntry<Path> implements MonitorOptions {
  readonly path: Path;
  readonly about: PathDescription;
  monitor: Monitor | undefined;
  /** What {@link PathSetOptions.health} said last. */
  reported: PathHealth = 'good';
  wasCurrent = false;
  draining = false;
  readonly #options: PathEntryComponents<Path>['options'];
  readonly #run: PathEntryComponents<Path>['run'];
  /** Aborts when the path has left the set; made when it is first asked for. */
  #ended: AbortController | undefined;

  constructor({ options, run }: PathEntryComponents<Path>, path: Path, about: PathDescription) {
    this.#options = options;
    this.#run = run;
    this.path = path;
    this.about = about;
  }

  get role(): 'standby' {
    return 'standby';
  }

  get handshakeRttMs(): number | undefined {
    return this.about.rttMs;
  }

  get times(): Partial<MonitorTimes> | undefined {
    return this.#options.times;
  }

  /** Aborts when the path has left the set. */
  get ended(): AbortSignal {
    this.#ended ??= new AbortController();
    return this.#ended.signal;
  }

  end(reason: Error): void {
    this.monitor?.stop();
    this.#ended?.abort(reason);
  }

  async probe(signal: AbortSignal): Promise<number | undefined> {
    return this.#options.probe?.(this.path, signal);
  }

  onHealth(health: PathHealth): void {
    this.#run.dispatch({ type: 'health', entry: this, health });
  }

  onMeasured(): void {
    this.#run.dispatch({ type: 'measured', entry: this });
  }

  onMissed(): void {
    this.#run.dispatch({ type: 'missed', entry: this });
  }
}
