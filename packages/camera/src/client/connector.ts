import type { ConnectPurpose } from '@towpath/core';
import type { PpppSession } from '@towpath/pppp';

/** A transport to a camera. */
export interface ConnectedCamera {
  /** Without handlers attached. The client closes it. */
  readonly session: PpppSession;
  /** Report of how it was reached. */
  readonly report?: unknown;
}

/** Options of a {@link CameraConnector}. */
export interface ConnectorOptions {
  /** Ends the search, also the part that continues after the result. Does not affect a session that was handed over. */
  signal: AbortSignal;
  /**
   * Time limit of the search, ms. `signal` aborts a little later, so that the search can report what it has tried.
   */
  limitMs?: number;
  /** True when the camera was connected before. */
  reconnect?: boolean;
  /** `improve`: there is a relayed session, and only a direct one is of use. @default 'connect' */
  purpose?: ConnectPurpose;
  /** The client can tell its camera from others by its device id, so it may be searched at other addresses. */
  knownDevice?: boolean;
  /**
   * Takes a further transport to the same camera, any time after the first was returned. The client logs in on it before
   * it leaves the current one, and closes transports that it does not use.
   */
  offer?(further: ConnectedCamera): void;
  /** Takes the part of the search that continues after the result; closing the client waits for it. */
  goesOn?(work: Promise<unknown>): void;
}

/** Finds a camera and opens a transport to it: one attempt. */
export interface CameraConnector {
  /** Description of the target for messages. */
  readonly target?: string;
  /** False when it opens relayed sessions only. @default true */
  readonly canBeDirect?: boolean;
  /** @throws when the camera cannot be reached; the signal's reason when it aborts. */
  connect(options: ConnectorOptions): Promise<ConnectedCamera>;
}
