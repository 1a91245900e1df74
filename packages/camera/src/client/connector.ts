import type { PpppSession } from '@towpath/pppp';

/** A transport to a camera. */
export interface ConnectedCamera {
  /** Nobody has attached to it yet. The client closes it. */
  readonly session: PpppSession;
  /** How it was reached, for whoever shows it. */
  readonly report?: unknown;
}

/** What a {@link CameraConnector} is told. */
export interface ConnectorOptions {
  /** Aborts the search. Does not touch a session that was already handed over. */
  signal: AbortSignal;
  /** How long the search may take, ms: ending by itself, it can say what it tried; `signal` aborts a little later. */
  limitMs?: number;
  /** True when the camera was connected before. */
  reconnect?: boolean;
  /** The session that results is in use until this aborts; only then may the connector stop looking for better ones. */
  lifetime?: AbortSignal;
  /**
   * Offers a better transport to the same camera, any time after the first was handed over. The client logs in there
   * before it leaves the one in use, and closes what it does not take.
   */
  onBetter?(better: ConnectedCamera): void;
}

/** Finds a camera and opens a transport to it: one try. */
export interface CameraConnector {
  /** What it looks for, as a person reads it. */
  readonly target?: string;
  /** @throws when there is no way to the camera now; the signal's reason when it aborts. */
  connect(options: ConnectorOptions): Promise<ConnectedCamera>;
}
