import { type LinkFaults, noLinkFaults } from './network/link-faults.ts';

/** Faults of an emulated camera. Every field may be changed at any time and takes effect at once. */
export interface EmulatorFaults {
  /** Faults of datagrams to the camera. */
  readonly toCamera: LinkFaults;
  /** Faults of datagrams from the camera. */
  readonly fromCamera: LinkFaults;
  /** Receives and sends nothing; sessions are kept. */
  silent: boolean;
  /** Acknowledges, but sends no responses. */
  stuck: boolean;
  /** Issues tokens that it does not accept afterwards. */
  wrongToken: boolean;
  /** Texts of the device information contain terminal control sequences, bidirectional marks and a path. */
  hostileText: boolean;
  /** Every n-th frame of a recording in playback has a wrong end check; 0: none. */
  damagedFrameEvery: number;
  /** Closes each new session after this time, ms; 0: never. */
  closeAfterMs: number;
}

/** Initial faults. */
export interface EmulatorFaultOptions extends Partial<Omit<EmulatorFaults, 'toCamera' | 'fromCamera'>> {
  readonly toCamera?: Partial<LinkFaults>;
  readonly fromCamera?: Partial<LinkFaults>;
}

export function createFaults({ toCamera, fromCamera, ...rest }: EmulatorFaultOptions = {}): EmulatorFaults {
  return {
    silent: false,
    stuck: false,
    wrongToken: false,
    hostileText: false,
    damagedFrameEvery: 0,
    closeAfterMs: 0,
    ...rest,
    toCamera: { ...noLinkFaults(), ...toCamera },
    fromCamera: { ...noLinkFaults(), ...fromCamera },
  };
}
