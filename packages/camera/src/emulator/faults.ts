import { type LinkFaults, noLinkFaults } from './network/link-faults.ts';

/** How an emulated camera misbehaves. Every field may be changed at any time; it takes effect at once. */
export interface EmulatorFaults {
  /** What happens to datagrams on their way to the camera. */
  readonly toCamera: LinkFaults;
  /** What happens to datagrams on their way from the camera. */
  readonly fromCamera: LinkFaults;
  /** Hears nothing and says nothing; sessions are not forgotten. */
  silent: boolean;
  /** Acknowledges, and answers nothing. */
  stuck: boolean;
  /** Hands out tokens that it does not accept afterwards. */
  wrongToken: boolean;
  /** Closes each session that begins from now on after so many ms; 0: does not. */
  closeAfterMs: number;
}

/** Faults to begin with. */
export interface EmulatorFaultOptions extends Partial<Omit<EmulatorFaults, 'toCamera' | 'fromCamera'>> {
  readonly toCamera?: Partial<LinkFaults>;
  readonly fromCamera?: Partial<LinkFaults>;
}

export function createFaults({ toCamera, fromCamera, ...rest }: EmulatorFaultOptions = {}): EmulatorFaults {
  return {
    silent: false,
    stuck: false,
    wrongToken: false,
    closeAfterMs: 0,
    ...rest,
    toCamera: { ...noLinkFaults(), ...toCamera },
    fromCamera: { ...noLinkFaults(), ...fromCamera },
  };
}
