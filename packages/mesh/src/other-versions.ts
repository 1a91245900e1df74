import { type Log, SparseSet } from '@towpath/core';

/** Tells a person, once of each form, that a peer sends something in a version that is not read: it changes nothing here. */
export class OtherVersions {
  readonly #log: Log;
  readonly #peer: { readonly name: string };
  readonly #told: SparseSet<string> = new SparseSet();

  constructor({ log }: { log: Log }, { peer }: { peer: { readonly name: string } }) {
    this.#log = log;
    this.#peer = peer;
  }

  /**
   * @param what begins the sentence: `An echo`
   * @param about of what arrived, for the log
   * @param form tells apart what a person is told of
   */
  ignored(what: string, about: Readonly<Record<string, number>>, form: string = what): void {
    if (this.#told.has(form)) return;
    this.#told.add(form);
    const text = `${what} of ${this.#peer.name} is ignored: it comes from another version of Towpath. Next: use the same version on both.`;
    this.#log.warn(text, about);
  }
}
