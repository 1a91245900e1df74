import { Lab, type LabHost, type NatKind, says } from './lab.ts';

/** Addresses of our server, and of one of another make. */
export const OURS: readonly [string, string] = ['203.0.113.10', '203.0.113.11'];
export const THEIRS: readonly [string, string] = ['203.0.113.12', '203.0.113.13'];

/** A small internet with a server of two addresses, on port 3478, to put hosts behind NATs on. */
export class NatLab {
  readonly lab: Lab = new Lab();
  readonly server: LabHost;
  #behind = 0;

  private constructor() {
    this.server = this.lab.host('stun', ...OURS);
  }

  static async open(): Promise<NatLab> {
    const natLab = new NatLab();
    try {
      const serving = natLab.server.towpath(['relay', 'serve', '--no-relay', '--address', ...OURS]);
      await says(serving, 'tcp ');
      return natLab;
    } catch (error) {
      await natLab.close();
      throw error;
    }
  }

  /** A host behind a NAT of its own. */
  behind(kind: NatKind): LabHost {
    const number = ++this.#behind;
    const nat = this.lab.nat(`nat${number}`, `203.0.113.${20 + number}`, kind, [...OURS, ...THEIRS]);
    return nat.host(`host${number}`);
  }

  close(): Promise<void> {
    return this.lab.close();
  }
}
