import { ControlClient, HttpTransport, type PartyView, type Suspicion } from '@towpath/control';
import type { PartyId } from '@towpath/membership';
import { type Clock, deadline, errorCode, TowpathError } from '@towpath/core';
import { showWait } from '../../cli/progress.ts';
import { UsageError } from '../../cli/failure.ts';
import { serverUrl } from '../../cli/server-url.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { startsId } from './starts-id.ts';
import { type KnownParty, PartyHome, type Servers } from '../../config/party-home.ts';
import { readAuthorities } from '../../config/secret-file.ts';

/** Options of every command that takes control servers. */
export interface ServerOptions extends CommonOptions {
  server?: string[];
  ca?: string;
}

/** Thrown when verification of a server's data failed; none of it was applied. */
export class MembershipError extends TowpathError<`membership-${Suspicion['kind']}`> {
  constructor({ kind, message }: Suspicion, party: string) {
    super(`membership-${kind}`, `${party}: ${message}`, { target: party, kind: 'untrusted' });
  }
}

export function homeOf({ configFolder, random }: Runtime): PartyHome {
  return new PartyHome(configFolder, random);
}

/** A node's client for one command, with the verification failures that it found. */
export class PartyNode implements AsyncDisposable {
  readonly client: ControlClient;
  readonly suspicions: Suspicion[] = [];
  readonly #clock: Clock;
  readonly #signal: AbortSignal;

  private constructor({ client, clock }: { client: ControlClient; clock: Clock }, signal: AbortSignal) {
    this.client = client;
    this.#clock = clock;
    this.#signal = signal;
    client.events.on('suspicion', (suspicion) => this.suspicions.push(suspicion));
  }

  /**
   * Opens a client at `servers`, with one party or none.
   * @param options.live keep a connection and be present; else send requests only
   */
  static async open(
    runtime: Runtime,
    servers: Servers,
    options: { party?: PartyId; live?: boolean } = {},
  ): Promise<PartyNode> {
    const { clock, random, log, signal } = runtime;
    const { party, live = false } = options;
    const home = homeOf(runtime);
    const { addresses, ca } = servers;
    const client = await ControlClient.open({
      clock,
      random,
      log: log.child('CONTROL'),
      transport: new HttpTransport(
        { clock, random, log },
        {
          servers: addresses,
          ...(ca === undefined ? {} : { ca }),
          // What is live goes on in the background.
          ...(live ? {} : { onAsk: (server: string) => showWait(runtime, `Waiting for ${server} …`) }),
        },
      ),
      identity: party === undefined ? await home.identity() : await home.identityIn(party),
      storage: home.storage(party === undefined ? [] : [party]),
      live,
    });
    return new PartyNode({ client, clock }, signal);
  }

  /**
   * Returns the party as verified now.
   * @throws MembershipError when verification fails; ControlError as `refresh`.
   */
  async current(party: KnownParty): Promise<PartyView> {
    const view = await this.client.refresh(party.id, { signal: this.#signal });
    this.throwIfSuspicious(party.name);
    return view;
  }

  /** Asks for changes since the last command, for at most `limitMs`. A server that does not answer is no failure. */
  async askFirst(party: PartyId, limitMs: number): Promise<void> {
    using limit = deadline(this.#clock, limitMs, this.#signal);
    try {
      await this.client.refresh(party, { signal: limit.signal });
    } catch (error) {
      this.#signal.throwIfAborted();
      if (!limit.expired && errorCode(error) !== 'server-unavailable') throw error;
    }
  }

  /** @throws MembershipError for the first verification failure. */
  throwIfSuspicious(party: string): void {
    const [first] = this.suspicions;
    if (first !== undefined) throw new MembershipError(first, party);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
  }
}

/** Finds a party by name or by the beginning of its id; the only one if `wanted` is undefined. @throws UsageError. */
export function findParty(runtime: Runtime, wanted: string | undefined): KnownParty {
  const parties = homeOf(runtime).parties();
  if (parties.length === 0) {
    throw new UsageError('This node is in no party. Next: towpath party create NAME, or towpath party join CODE.');
  }
  const meant = parties.filter(
    ({ id, name }) => wanted === undefined || name.toLowerCase() === wanted.toLowerCase() || startsId(id, wanted),
  );
  const [only, ...others] = meant;
  if (only === undefined) {
    throw new UsageError(`This node is not in a party ${wanted}. Its parties: ${names(parties)}.`);
  }
  if (others.length > 0) {
    const isNameClear = meant.every((party) => namesakesOf(party, meant).length === 0);
    const next = isNameClear
      ? 'give the name or the first characters of the id'
      : 'give the first characters of the id';
    throw new UsageError(`Several parties match: ${names(meant)}. Next: ${next}.`);
  }
  return only;
}

/** Says that commands cannot tell a party by its name, when another one of this node has the same. */
export function warnOfSameName(runtime: Runtime, party: Pick<KnownParty, 'id' | 'name'>): void {
  const others = namesakesOf(party, homeOf(runtime).parties());
  if (others.length === 0) return;
  runtime.io.err(
    `Another party of this node is called ${party.name} too: ${names([...others, party])}. Next: in commands, give the first characters of the id instead of the name.`,
  );
}

/** The other parties of the same name. */
export function namesakesOf<T extends Pick<KnownParty, 'id' | 'name'>>(
  { id, name }: Pick<KnownParty, 'id' | 'name'>,
  among: readonly T[],
): T[] {
  return among.filter((other) => other.id !== id && other.name.toLowerCase() === name.toLowerCase());
}

/** A party, told from others of its name. */
export function partyLabel({ id, name }: Pick<KnownParty, 'id' | 'name'>): string {
  return `${name} (${id.slice(0, 8)})`;
}

function names(parties: readonly Pick<KnownParty, 'id' | 'name'>[]): string {
  return parties.map(partyLabel).join(', ');
}

/** Returns the servers of this command, or those saved by an earlier one. @throws UsageError when there are none. */
export function serversFor(runtime: Runtime, options: ServerOptions, otherwise?: readonly string[]): Servers {
  const known = homeOf(runtime).servers;
  const ca = options.ca === undefined ? undefined : readAuthorities(options.ca);
  if (options.server !== undefined) return { addresses: options.server.map(serverUrl), ca };
  if (otherwise !== undefined && otherwise.length > 0) return { addresses: otherwise, ca: ca ?? known?.ca };
  if (known !== undefined) return { ...known, ca: ca ?? known.ca };
  throw new UsageError(
    `No control server is known. Next: add --server HOST or --server https://HOST:PORT; to run one: towpath serve`,
  );
}
