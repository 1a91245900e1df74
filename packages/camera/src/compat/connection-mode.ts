import type { PathKind } from '@towpath/core';
import type { THREAD_NAMES } from '../connect/defaults.ts';

/** Kind of a path, under the name of the documents. */
export const ConnectionMode = {
  /** directly to the camera's address, or across NATs */
  P2P: 'p2p',
  /** inside the local network */
  LAN: 'lan',
  /** through a relay server */
  RELAY: 'relay',
} as const;
export type ConnectionMode = (typeof ConnectionMode)[keyof typeof ConnectionMode];

/** State of one connection thread: all attempts of one kind of path. */
export const ConnectionThreadState = {
  /** this kind of path is disabled */
  NOT_STARTED: 'not_started',
  /** not yet started */
  PENDING: 'pending',
  /** at least one attempt is running */
  RUNNING: 'running',
  /** it has connected */
  SUCCESS: 'success',
  /** every attempt has failed */
  FAILED: 'failed',
  /** another thread has connected */
  CANCELLED: 'cancelled',
} as const;
export type ConnectionThreadState = (typeof ConnectionThreadState)[keyof typeof ConnectionThreadState];

/** Names of the three connection threads. */
export type ConnectionThreadName = (typeof THREAD_NAMES)[PathKind];
