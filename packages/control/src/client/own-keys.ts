import type { Clock } from '@towpath/core';
import { authorRotation, type NodeKeys, type PartyState } from '@towpath/membership';
import type { NodeIdentity } from '../identity/node-identity.ts';
import type { PartySession } from './party-session.ts';
import type { RequestOptions } from './transport.ts';

/** This node's keys, which are replaced in one party after the other. */
export class OwnKeys {
  readonly #clock: Clock;
  #current: NodeIdentity;
  /** The next keys during a rotation: some parties have them already. */
  #next: NodeIdentity | undefined;
  #rotating: Promise<unknown> = Promise.resolve();

  constructor({ clock }: { clock: Clock }, { identity }: { identity: NodeIdentity }) {
    this.#clock = clock;
    this.#current = identity;
  }

  /** The keys that sign requests to servers. */
  get current(): NodeIdentity {
    return this.#current;
  }

  /** The keys as statements name them. */
  get node(): NodeKeys {
    const { signing, wireGuard } = this.#current;
    return { signing, wireGuardPublicKey: wireGuard.publicKey };
  }

  /** Returns the keys by which a party knows this node. */
  inParty(state: PartyState): NodeIdentity {
    const next = this.#next;
    return next !== undefined && state.memberByKey(next.signing.publicKey) !== undefined ? next : this.#current;
  }

  /** Returns the options of a request that this node signs. */
  request(signal: AbortSignal | undefined): RequestOptions {
    return { key: this.#current.signing, signal };
  }

  /**
   * Replaces the keys in every party; parties that have them already are left as they are.
   * @param sessions returns the parties of the time when this rotation starts
   * @param onRotated called when all parties have the keys, before the next rotation starts
   * @throws ControlError as {@link PartySession.appendStatement}
   */
  rotate(
    next: NodeIdentity,
    options: { sessions(): Iterable<PartySession>; onRotated(): void; signal: AbortSignal | undefined },
  ): Promise<void> {
    // One after the other: each rotation starts from the keys of the previous one.
    const rotation = this.#rotating.then(async () => {
      await this.#replaceIn(options.sessions(), next, options.signal);
      options.onRotated();
    });
    this.#rotating = rotation.catch(() => undefined);
    return rotation;
  }

  async #replaceIn(
    sessions: Iterable<PartySession>,
    next: NodeIdentity,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    this.#next = next;
    const from = this.#current.signing;
    const to = { signing: next.signing, wireGuardPublicKey: next.wireGuard.publicKey };
    for (const session of sessions) {
      await session.appendStatement(
        (state) =>
          state.memberByKey(next.signing.publicKey) === undefined
            ? authorRotation(state, { from, to, timeMs: this.#clock.wallTime() })
            : undefined,
        signal,
      );
    }
    this.#current = next;
    this.#next = undefined;
  }
}
