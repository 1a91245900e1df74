import type { SessionMode } from '@towpath/pppp';
import type { ArtemisSession } from './artemis-session.ts';

/** A logged-in session in use. A better one may take its place while transfers still run on this one. */
export class CameraPath {
  readonly artemis: ArtemisSession;
  /** What the connector said about how it got there. */
  readonly report: unknown;
  /** Shared by a path and the better ones that its connector finds for it; aborted when the last of them is gone. */
  readonly lineage: AbortController;
  /** How many live streams are being read. */
  liveUsers = 0;
  readonly #users = new Set<() => void>();
  #superseded: PromiseWithResolvers<void> | undefined;

  constructor(artemis: ArtemisSession, report: unknown, lineage: AbortController) {
    this.artemis = artemis;
    this.report = report;
    this.lineage = lineage;
  }

  /** By which way it runs. */
  get mode(): SessionMode {
    return this.artemis.carrier.mode;
  }

  /** True when a better path is in use: end what can be ended and go on there. */
  get superseded(): boolean {
    return this.#superseded !== undefined;
  }

  /** Keeps the path open until the result is disposed of. `wake` is called when it is superseded. */
  use(wake: () => void): Disposable {
    this.#users.add(wake);
    return {
      [Symbol.dispose]: () => {
        this.#users.delete(wake);
        if (this.#users.size === 0) this.#superseded?.resolve();
      },
    };
  }

  /** Asks everybody to move on; resolves when nobody uses the path any more. */
  supersede(): Promise<void> {
    this.#superseded ??= Promise.withResolvers();
    if (this.#users.size === 0) this.#superseded.resolve();
    for (const wake of [...this.#users]) wake();
    return this.#superseded.promise;
  }
}
