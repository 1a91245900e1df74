import type { PathKind } from '@towpath/core';
import type { ArtemisSession } from './artemis-session.ts';

/** A logged-in session in use. A better one may replace it while transfers still run on this one. */
export class CameraPath {
  /** Unique within the client. */
  readonly id: string;
  readonly artemis: ArtemisSession;
  /** The connector's report. */
  readonly report: unknown;
  /** Number of readers of live streams. */
  liveUsers = 0;
  /** Made with the first user: most paths only keep the camera connected. */
  #users: Set<() => void> | undefined;
  #superseded: PromiseWithResolvers<void> | undefined;

  constructor(id: string, artemis: ArtemisSession, report: unknown) {
    this.id = id;
    this.artemis = artemis;
    this.report = report;
  }

  /** Its path kind. */
  get pathKind(): PathKind {
    return this.artemis.carrier.pathKind;
  }

  /** True when a better path is in use: finish running work here and continue there. */
  get superseded(): boolean {
    return this.#superseded !== undefined;
  }

  /** Keeps the path open until the result is disposed of. `wake` is called when it is superseded. */
  use(wake: () => void): Disposable {
    this.#users ??= new Set();
    const users = this.#users;
    users.add(wake);
    return {
      [Symbol.dispose]: () => {
        users.delete(wake);
        if (users.size === 0) this.#superseded?.resolve();
      },
    };
  }

  /** Requests all users to move to the new path; resolves when nothing uses this path any more. */
  supersede(): Promise<void> {
    this.#superseded ??= Promise.withResolvers();
    const users = [...(this.#users ?? [])];
    if (users.length === 0) this.#superseded.resolve();
    for (const wake of users) wake();
    return this.#superseded.promise;
  }
}
