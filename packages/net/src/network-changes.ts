import type { DefaultRoute } from './default-route.ts';

/** One difference between the network before and now. */
export type NetworkChange =
  | { readonly kind: 'interface-up' | 'interface-down'; readonly name: string }
  | {
      readonly kind: 'address-added' | 'address-removed';
      readonly name: string;
      readonly address: string;
      readonly family: 4 | 6;
    }
  | {
      readonly kind: 'default-route-changed';
      readonly family: 4 | 6;
      /** `undefined`: there was none, or there is none now. */
      readonly before: DefaultRoute | undefined;
      readonly after: DefaultRoute | undefined;
    }
  /** The host was suspended, or the process stopped, for about so long. */
  | { readonly kind: 'sleep'; readonly sleptMs: number }
  /** The wall clock was set forward (positive) or back (negative). */
  | { readonly kind: 'clock-jump'; readonly jumpMs: number };

/** Reports how the network of this host changes. */
export interface NetworkChanges {
  /**
   * Calls `listener` with all differences since the last call, once nothing has changed for a second (connectivity
   * constants: debounced 1 s, polled on the real network every 2 s on Linux, every 15 s elsewhere). Never called with an empty list.
   * Watching costs a timer while there is a listener, and keeps the process alive as every timer of the clock does.
   * @returns ends the subscription when disposed; so does `signal`.
   */
  subscribe(
    listener: (changes: readonly NetworkChange[]) => void,
    options?: { signal?: AbortSignal | undefined },
  ): Disposable;
}
