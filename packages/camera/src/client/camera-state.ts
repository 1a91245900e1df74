/** States of a {@link CameraClient}. */
export const CameraState = {
  /** not started, or every attempt has failed, or between two attempts of the first connect */
  DISCONNECTED: 'DISCONNECTED',
  /** searching for the camera */
  DISCOVERING: 'DISCOVERING',
  /** a transport to it is open */
  DISCOVERED: 'DISCOVERED',
  /** the login is running */
  AUTHENTICATING: 'AUTHENTICATING',
  /** commands can be sent */
  CONNECTED: 'CONNECTED',
  /** it was connected, was lost, and is being searched for */
  RECONNECTING: 'RECONNECTING',
  /** closed */
  CLOSED: 'CLOSED',
} as const;
export type CameraState = (typeof CameraState)[keyof typeof CameraState];

export type CameraStateEvent = 'try' | 'found' | 'login' | 'up' | 'try-failed' | 'lost' | 'gave-up' | 'close';

export interface CameraPhase {
  readonly state: CameraState;
  /** True when it was connected before, so that the next connect is a reconnect. */
  readonly wasUp: boolean;
}

export const initialPhase: CameraPhase = { state: CameraState.DISCONNECTED, wasUp: false };

/** The state machine as a pure function. */
export function stepPhase(phase: CameraPhase, event: CameraStateEvent): CameraPhase {
  if (phase.state === CameraState.CLOSED) return phase;
  const { wasUp } = phase;
  switch (event) {
    case 'try':
      return { state: wasUp ? CameraState.RECONNECTING : CameraState.DISCOVERING, wasUp };
    case 'found':
      return { state: CameraState.DISCOVERED, wasUp };
    case 'login':
      return { state: CameraState.AUTHENTICATING, wasUp };
    case 'up':
      return { state: CameraState.CONNECTED, wasUp: true };
    case 'try-failed':
    case 'lost':
      return { state: wasUp ? CameraState.RECONNECTING : CameraState.DISCONNECTED, wasUp };
    case 'gave-up':
      return { state: CameraState.DISCONNECTED, wasUp };
    case 'close':
      return { state: CameraState.CLOSED, wasUp };
    default:
      return event satisfies never;
  }
}
