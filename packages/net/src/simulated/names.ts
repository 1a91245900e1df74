import type { Clock } from '@towpath/core';
import { addressFamily } from '../address/ip.ts';
import { nameError } from '../net-error.ts';
import type { ResolveOptions } from '../network.ts';
import { bothFamilies } from '../resolve-families.ts';

/** How name servers answer a question: with what they know, with a failure, or not at all. */
export type NameServerBehaviour = 'answers' | 'silent' | 'failed' | 'not-found';

/** How long a client waits for a silent name server. */
const SILENCE_MS = 5_000;
const ANSWER_MS = 20;

/** The names of a simulated internet and the servers that answer for them. */
export class SimulatedNames {
  readonly #clock: Clock;
  readonly #addresses = new Map<string, readonly string[]>();
  readonly #behaviour: Record<4 | 6, NameServerBehaviour> = { 4: 'answers', 6: 'answers' };
  /** How long an answer takes, ms. */
  delayMs: Record<4 | 6, number> = { 4: ANSWER_MS, 6: ANSWER_MS };

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Gives a name these addresses; an empty list makes a name without addresses. */
  set(name: string, addresses: readonly string[]): void {
    this.#addresses.set(name.toLowerCase(), addresses);
  }

  /** Makes the name never heard of. */
  delete(name: string): void {
    this.#addresses.delete(name.toLowerCase());
  }

  /** Changes how questions are answered, of one family or of both. */
  behave(behaviour: NameServerBehaviour, family?: 4 | 6): void {
    for (const one of family === undefined ? ([4, 6] as const) : [family]) this.#behaviour[one] = behaviour;
  }

  /** Looks a name up as a host does. @param online whether the host reaches the name servers */
  async resolve(
    name: string,
    { family, signal }: ResolveOptions,
    hosts: ReadonlyMap<string, readonly string[]>,
    online: (family: 4 | 6) => boolean,
  ): Promise<string[]> {
    signal?.throwIfAborted();
    const literal = addressFamily(name);
    const listed = literal === undefined ? localAddresses(name, hosts) : [name];
    const wanted = family === undefined ? listed : listed.filter((address) => addressFamily(address) === family);
    if (wanted.length > 0) return [...wanted];
    if (literal !== undefined) throw nameError('name-without-address', name, family ?? literal);
    if (family !== undefined) return this.#ask(name, family, signal, online);
    return bothFamilies(this.#clock, signal, (one, ended) => this.#ask(name, one, ended, online));
  }

  async #ask(
    name: string,
    family: 4 | 6,
    signal: AbortSignal | undefined,
    online: (family: 4 | 6) => boolean,
  ): Promise<string[]> {
    const behaviour = online(4) || online(6) ? this.#behaviour[family] : 'silent';
    await this.#clock.sleep(behaviour === 'silent' ? SILENCE_MS : this.delayMs[family], signal);
    if (behaviour === 'silent') throw nameError('name-server-silent', name, family);
    if (behaviour === 'failed') throw nameError('name-server-failed', name, family);
    const known = this.#addresses.get(name.toLowerCase());
    if (behaviour === 'not-found' || known === undefined) throw nameError('name-not-found', name, family);
    const found = known.filter((address) => addressFamily(address) === family);
    if (found.length === 0) throw nameError('name-without-address', name, family);
    return found;
  }
}

function localAddresses(name: string, hosts: ReadonlyMap<string, readonly string[]>): readonly string[] {
  const listed = hosts.get(name.toLowerCase());
  if (listed !== undefined) return listed;
  return name === 'localhost' ? ['127.0.0.1', '::1'] : [];
}
