import { readFileSync } from 'node:fs';
import { ControlClient, HttpTransport, type PartyId, type PartyView, type Suspicion } from '@towpath/control';
import { errorCode, TowpathError } from '@towpath/core';
import { UsageError } from '../../cli/failure.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { type KnownParty, PartyHome, type Servers } from '../../config/party-home.ts';

/** What every command takes that may be told where the servers are. */
export interface ServerOptions extends CommonOptions {
  server?: string[];
  ca?: string;
}

const DEFAULT_PORT = 4100;

/** Thrown when what a server says of a party does not hold; none of it was applied. */
export class MembershipError extends TowpathError<`membership-${Suspicion['kind']}`> {
  constructor({ kind, message }: Suspicion, party: string) {
    super(`membership-${kind}`, `${party}: ${message}`, { target: party });
  }
}

export function homeOf({ configFolder, random }: Runtime): PartyHome {
  return new PartyHome(configFolder, random);
}

/** A node's client for the length of a command, and everything that it found suspicious. */
export class PartyNode implements AsyncDisposable {
  readonly client: ControlClient;
  readonly suspicions: Suspicion[] = [];
  readonly #signal: AbortSignal;

  private constructor(client: ControlClient, signal: AbortSignal) {
    this.client = client;
    this.#signal = signal;
    client.events.on('suspicion', (suspicion) => this.suspicions.push(suspicion));
  }

  /**
   * Opens a client at `servers`, with one party or none.
   * @param options.live keep a connection and be present; else ask only.
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
      transport: new HttpTransport({ clock, random, log }, { servers: addresses, ...(ca === undefined ? {} : { ca }) }),
      identity: party === undefined ? await home.identity() : await home.identityIn(party),
      storage: home.storage(party === undefined ? [] : [party]),
      live,
    });
    return new PartyNode(client, signal);
  }

  /**
   * The party as its servers say now, verified.
   * @throws MembershipError when what they say does not hold; ControlError as `refresh`.
   */
  async current(party: KnownParty): Promise<PartyView> {
    const view = await this.client.refresh(party.id, { signal: this.#signal });
    this.throwIfSuspicious(party.name);
    return view;
  }

  /** @throws MembershipError for the first thing that did not add up. */
  throwIfSuspicious(party: string): void {
    const [first] = this.suspicions;
    if (first !== undefined) throw new MembershipError(first, party);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
  }
}

/** The party that is meant: by name, by the beginning of its id, or the only one. @throws UsageError. */
export function findParty(runtime: Runtime, wanted: string | undefined): KnownParty {
  const parties = homeOf(runtime).parties();
  if (parties.length === 0) {
    throw new UsageError('This node is in no party. Next: towpath party create NAME, or towpath party join CODE.');
  }
  const meant = parties.filter(
    ({ id, name }) => wanted === undefined || name.toLowerCase() === wanted.toLowerCase() || startsId(id, wanted),
  );
  const [only, ...others] = meant;
  const names = (list: readonly KnownParty[]) => list.map(({ id, name }) => `${name} (${id.slice(0, 8)})`).join(', ');
  if (only === undefined) {
    throw new UsageError(`This node is in no party ${wanted}, but in ${names(parties)}.`);
  }
  if (others.length > 0) throw new UsageError(`Which party: ${names(meant)}? Say its name, or how its id begins.`);
  return only;
}

/** True when `text` is the beginning of an id, long enough to be meant as one. */
export function startsId(id: string, text: string): boolean {
  return /^[0-9a-f]{4,32}$/i.test(text) && id.startsWith(text.toLowerCase());
}

/** The servers that were named now, or by an earlier command. @throws UsageError when none ever was. */
export function serversFor(runtime: Runtime, options: ServerOptions, otherwise?: readonly string[]): Servers {
  const known = homeOf(runtime).servers;
  const ca = options.ca === undefined ? undefined : readAuthority(options.ca);
  if (options.server !== undefined) return { addresses: options.server.map(serverUrl), ca };
  if (otherwise !== undefined && otherwise.length > 0) return { addresses: otherwise, ca: ca ?? known?.ca };
  if (known !== undefined) return { ...known, ca: ca ?? known.ca };
  throw new UsageError(
    `Name a control server once: --server HOST, or --server https://HOST:PORT. Run one by: towpath serve`,
  );
}

/** `HOST`, `HOST:PORT` and URLs, as a URL. @throws UsageError. */
export function serverUrl(text: string): string {
  const whole = /^https?:\/\//.test(text) ? text : `http://${text}`;
  const url = URL.canParse(whole) ? new URL(whole) : undefined;
  if (url === undefined || url.pathname !== '/' || url.search !== '' || url.username !== '') {
    throw new UsageError(`"${text}" is no control server such as 198.51.100.7, HOST:4100 or https://HOST.`);
  }
  // An address that is written as a URL means its own default port.
  if (whole !== text && url.port === '') url.port = String(DEFAULT_PORT);
  return url.origin;
}

function readAuthority(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new TowpathError('file-unreadable', `${file} cannot be read (${errorCode(cause)}).`, { target: file, cause });
  }
}
