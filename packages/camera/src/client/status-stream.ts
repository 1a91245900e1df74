import { abortable, type Events, type PathKind, type TowpathError } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import type { CameraEvents } from './camera-link.ts';
import { CameraState } from './camera-state.ts';

/** One change of a camera's connection. */
export type CameraStatus =
  /** The first element, and every change of state. */
  | { readonly type: 'state'; readonly state: CameraState; readonly previous: CameraState }
  /** A path is in use: the first one, one after a loss (`reconnect`), or a better one (`replaced`). */
  | {
      readonly type: 'connected';
      readonly kind: PathKind;
      readonly local: Endpoint;
      readonly peer: Endpoint;
      readonly reconnect: boolean;
      readonly replaced: boolean;
    }
  /** The connection is lost; reconnecting begins. */
  | { readonly type: 'lost'; readonly error: TowpathError }
  /** An attempt has failed; the next one begins in `nextMs`, or never. */
  | { readonly type: 'attemptFailed'; readonly error: TowpathError; readonly nextMs: number | undefined };

/** A reader that is slower than this many elements loses the oldest ones. */
const MAX_QUEUED = 256;

/** Yields the state and every change, until the client is closed. @throws the signal's reason when it aborts. */
export async function* statusStream(
  events: Events<CameraEvents>,
  currentState: () => CameraState,
  signal: AbortSignal | undefined,
): AsyncGenerator<CameraStatus, void, undefined> {
  signal?.throwIfAborted();
  const state = currentState();
  const queue: CameraStatus[] = [{ type: 'state', state, previous: state }];
  let pushed = Promise.withResolvers<void>();
  const push = (status: CameraStatus) => {
    queue.push(status);
    if (queue.length > MAX_QUEUED) queue.shift();
    pushed.resolve();
  };
  const stops = [
    events.on('state', (change) => push({ type: 'state', ...change })),
    events.on('connected', ({ path, reconnect, replaced }) => {
      const { local, peer } = path.artemis.carrier;
      push({ type: 'connected', kind: path.pathKind, local, peer, reconnect, replaced });
    }),
    events.on('lost', (error) => push({ type: 'lost', error })),
    events.on('tryFailed', ({ error, nextMs }) => push({ type: 'attemptFailed', error, nextMs })),
  ];
  try {
    for (;;) {
      const status = queue.shift();
      if (status === undefined) {
        await abortable(pushed.promise, signal);
        pushed = Promise.withResolvers();
        continue;
      }
      yield status;
      if (status.type === 'state' && status.state === CameraState.CLOSED) return;
    }
  } finally {
    for (const stop of stops) stop();
  }
}
