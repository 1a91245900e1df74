import {
  type Clock,
  deadlineInterval,
  errorCode,
  errorMessage,
  isAbort,
  type Log,
  type Random,
  silentLog,
  type Timer,
} from '@towpath/core';
import { toBase64 } from '@towpath/membership';
import { ControlError } from '../control-error.ts';
import { NONCE_BYTES } from '../wire/request-signing.ts';
import { type RelayKey, relayKey, sameProof } from '../wire/relay-key.ts';
import { MAX_ASKED_MEMBERS, readTurnUser, turnMember } from '../wire/turn-user.ts';
import { HttpTransport } from './http-transport.ts';

/** Each known user is asked for again after this time, ms. */
const ASK_EVERY_MS = 5_000;
/** A user that is new is asked for after this time, together with others that come meanwhile, ms. */
const GATHER_MS = 50;
/** Requests of one round: a server answers 20 in a second, on average. */
const REQUESTS_PER_ROUND = 80;
/** A user that sent no request for this time is forgotten, ms. Allocations are refreshed every ten minutes at least. */
const FORGET_MS = 900_000;
/** Users that are remembered; the ones heard longest ago are forgotten first. */
const MAX_USERS = 20_000;

interface Entry {
  /** As servers are asked: `MEMBER.PARTY`. */
  readonly question: string;
  seenAtMs: number;
  /** By server: when it answered last, and what. */
  readonly answeredAtMs: number[];
  readonly removed: boolean[];
}

interface Server {
  readonly name: string;
  readonly transport: HttpTransport;
  /** Index of the key that the server accepted last. */
  key: number;
  running: boolean;
  again: boolean;
  failing: boolean;
}

export interface RemovedMembersOptions {
  /** `http://host:port` or `https://…` of the control servers whose members use the relay; each is asked. */
  readonly servers: readonly string[];
  /** PEM of a certificate authority, instead of the system's. */
  readonly ca?: string | undefined;
  /** The relay's secrets of TURN credentials, the present one first. */
  readonly secrets: readonly string[];
  /** Called with removed users, in each round again: an allocation may have been under way in the one before. */
  onRemoved(users: readonly string[]): void;
}

/**
 * Tells a relay that runs apart from its control servers which of its users are members no more: it asks the servers
 * every 5 s. While a server does not answer, its last answers hold, and credentials end by themselves.
 */
export class RemovedMembers implements AsyncDisposable {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #keys: readonly RelayKey[];
  readonly #servers: readonly Server[];
  readonly #onRemoved: (users: readonly string[]) => void;
  readonly #entries = new Map<string, Entry>();
  readonly #over = new AbortController();
  readonly #work = new Set<Promise<void>>();
  #soon: Timer | undefined;
  #asked = 0;
  #failed = 0;

  /** @throws ControlError `invalid-request` for an invalid address. */
  constructor(components: { clock: Clock; random: Random; log?: Log | undefined }, options: RemovedMembersOptions) {
    const { clock, random, log = silentLog } = components;
    this.#clock = clock;
    this.#random = random;
    this.#log = log.child('REMOVED');
    this.#keys = options.secrets.map(relayKey);
    this.#onRemoved = options.onRemoved;
    const { ca } = options;
    this.#servers = options.servers.map((name) => ({
      name,
      transport: new HttpTransport(components, { servers: [name], ...(ca === undefined ? {} : { ca }) }),
      key: 0,
      running: false,
      again: false,
      failing: false,
    }));
    deadlineInterval({ clock, intervalMs: ASK_EVERY_MS, signal: this.#over.signal, onTick: () => this.#askAll() });
  }

  /** Questions to servers, those without a valid answer, and users that are removed. */
  get stats(): { asked: number; failed: number; removed: number } {
    let removed = 0;
    for (const entry of this.#entries.values()) if (entry.removed.includes(true)) removed++;
    return { asked: this.#asked, failed: this.#failed, removed };
  }

  /** Whether a server has said that this user is no member any more. A new user is asked for from now on. */
  isRemoved(user: string): boolean {
    const known = this.#entries.get(user);
    const entry = known ?? newEntry(user);
    if (entry === undefined) return false;
    entry.seenAtMs = this.#clock.now();
    this.#entries.delete(user);
    this.#entries.set(user, entry);
    if (known === undefined) {
      if (this.#entries.size > MAX_USERS) this.#entries.delete(this.#entries.keys().next().value!);
      this.#soon ??= this.#clock.timer(GATHER_MS, () => {
        this.#soon = undefined;
        this.#askAll();
      });
    }
    return entry.removed.includes(true);
  }

  /** Resolves when no question is under way. */
  async idle(): Promise<void> {
    await Promise.all(this.#work);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#soon?.cancel();
    this.#over.abort();
    await Promise.all(this.#work);
    await Promise.all(this.#servers.map(({ transport }) => transport.close()));
  }

  #askAll(): void {
    if (this.#over.signal.aborted) return;
    for (const [at, server] of this.#servers.entries()) {
      server.again = true;
      if (server.running) continue;
      server.running = true;
      const work = this.#rounds(server, at).finally(() => {
        server.running = false;
        this.#work.delete(work);
      });
      this.#work.add(work);
    }
  }

  async #rounds(server: Server, at: number): Promise<void> {
    while (server.again && !this.#over.signal.aborted) {
      server.again = false;
      try {
        await this.#round(server, at);
        if (server.failing) this.#log.info('the control server answers again', { server: server.name });
        server.failing = false;
      } catch (error) {
        if (isAbort(error) || this.#over.signal.aborted) return;
        this.#failed++;
        if (!server.failing) {
          const effect = 'removed members can relay until their credentials expire';
          const details = { server: server.name, code: errorCode(error), error: errorMessage(error) };
          this.#log.warn(`the control server does not say who was removed: ${effect}`, details);
        }
        server.failing = true;
        return;
      }
    }
  }

  async #round(server: Server, at: number): Promise<void> {
    const now = this.#clock.now();
    const due: [string, Entry][] = [];
    for (const [user, entry] of this.#entries) {
      if (now - entry.seenAtMs > FORGET_MS) this.#entries.delete(user);
      // Half the interval: what was asked early in the last round is asked again in this one.
      else if (now - (entry.answeredAtMs[at] ?? Number.NEGATIVE_INFINITY) > ASK_EVERY_MS / 2) due.push([user, entry]);
    }
    const age = ([, { answeredAtMs }]: [string, Entry]) => answeredAtMs[at] ?? Number.NEGATIVE_INFINITY;
    due.sort((a, b) => (age(a) < age(b) ? -1 : 1));
    for (let from = 0; from < due.length && from < REQUESTS_PER_ROUND * MAX_ASKED_MEMBERS; from += MAX_ASKED_MEMBERS) {
      const page = due.slice(from, from + MAX_ASKED_MEMBERS);
      const removed = await this.#ask(server, [...new Set(page.map(([, { question }]) => question))]);
      const gone: string[] = [];
      for (const [user, entry] of page) {
        const isGone = removed.has(entry.question);
        if (isGone && !entry.removed.includes(true)) this.#log.info('a member was removed', { user });
        if (isGone) gone.push(user);
        entry.removed[at] = isGone;
        entry.answeredAtMs[at] = this.#clock.now();
      }
      if (gone.length > 0) this.#onRemoved(gone);
    }
  }

  /** Asks with the key of each secret in turn: a secret is replaced at relays before it is at servers. */
  async #ask(server: Server, members: readonly string[]): Promise<ReadonlySet<string>> {
    for (let tries = 1; ; tries++) {
      const key = this.#keys[server.key % this.#keys.length]!;
      const challenge = toBase64(this.#random.bytes(NONCE_BYTES));
      this.#asked++;
      try {
        const options = { key: key.signing, signal: this.#over.signal };
        const { removed, proof } = await server.transport.removedMembers(members, challenge, options);
        if (sameProof(proof, key.prove(challenge, removed))) return new Set(removed);
        throw new ControlError(
          'bad-answer',
          'The answer was changed on the way, or is of a server without the secret.',
        );
      } catch (error) {
        if (errorCode(error) !== 'forbidden' || tries >= this.#keys.length) throw error;
        server.key++;
      }
    }
  }
}

function newEntry(user: string): Entry | undefined {
  const issued = readTurnUser(user);
  return issued && { question: turnMember(issued), seenAtMs: 0, answeredAtMs: [], removed: [] };
}
