import { AbortedError, type Clock, errorMessage, type Log, type Random, type Timer } from '@towpath/core';
import type { PartyId, PeerId, WireGuardKey } from '@towpath/membership';
import type { Endpoint, Network } from '@towpath/net';
import type { ControlPlane, MeshRelay, RelayCredentials } from '../control-plane.ts';
import type { PathSocket } from '../paths/path-socket.ts';
import { parseRelayUrl, RelaySession, resolveRelay, transportsOf } from '../paths/relay-session.ts';
import { KeptRelay } from './kept-relay.ts';
import { partyRelayPassword } from './party-credentials.ts';
import { memberRelays, ownerOf } from './relay-announcement.ts';
import { pairOrder, type RelayKey, relayKey } from './relay-key.ts';
import { RelayMeter } from './relay-meter.ts';
import { MAX_FIGURES, type RelayFigure } from './relay-signal.ts';

export interface RelayPoolComponents {
  network: Network;
  clock: Clock;
  random: Random;
  log: Log;
  control: ControlPlane;
  socket: PathSocket;
}

export interface RelayPoolOptions {
  party: PartyId;
  self: PeerId;
  wireGuardKey: WireGuardKey;
  /** Relays that are kept ready before the pairs have chosen theirs. @default 2 */
  relays?: number | undefined;
  /** Relays that the pairs want, the most important first. */
  wanted(): readonly RelayKey[];
  /** A relayed address was granted, or is gone, or takes the place of another. */
  onSession(): void;
  /** True while the path in use to a peer goes over the session. */
  isUsed(session: RelaySession): boolean;
  /** PEM of certificate authorities that relays may have, besides the system's. */
  authorities?: string | undefined;
  /** Figures that the members are told have changed. */
  onFigures(): void;
}

const DEFAULT_RELAYS = 2;
/** Relayed addresses at a time, whatever the pairs want: a hostile member chooses for its own pair. */
const MAX_SESSIONS = 8;
/** Half of what is measured are operators' relays, so that members' relays do not crowd them out. */
const MAX_OF_A_KIND: number = MAX_FIGURES / 2;
/** A relayed address that no pair wants any more is kept for this long, ms: the other end may still send there. */
const LINGER_MS = 10_000;
const MAX_STUN_SERVERS = 4;
const FOREVER_MS = 86_400_000;

/** Operators' relays and those of members: which there are, how far away they are, and the relayed addresses on them. */
export class RelayPool implements AsyncDisposable {
  readonly #components: RelayPoolComponents;
  readonly #options: RelayPoolOptions;
  readonly #meter: RelayMeter;
  readonly #kept = new Map<string, { relay: KeptRelay; urls: string; unwantedAtMs: number | undefined }>();
  readonly #ending = new Set<Promise<void>>();
  /** Where the relayed addresses are before the pairs have chosen. */
  #home: readonly string[] = [];
  #timer: Timer | undefined;
  #closed = false;

  constructor(components: RelayPoolComponents, options: RelayPoolOptions) {
    this.#components = components;
    this.#options = options;
    this.#meter = new RelayMeter(
      { ...components, stun: components.socket.stun },
      {
        relays: () => this.#known(),
        authorities: options.authorities,
        onChange: () => options.onFigures(),
      },
    );
    this.update();
  }

  /** Sessions that have a relayed address. */
  get sessions(): RelaySession[] {
    return [...this.#kept.values()].flatMap(({ relay }) => relay.sessions);
  }

  figures(): RelayFigure[] {
    const relayed = new Map([...this.#kept].map(([id, { relay }]) => [relayKey(id), relay.relayed]));
    return [...this.#meter.figures].map(([key, rttMs]) => ({ key, rttMs, relayed: relayed.get(key) }));
  }

  relayAt(address: string): RelayKey | undefined {
    return this.#meter.relayAt(address);
  }

  isRelayAddress(address: string): boolean {
    return (
      this.sessions.some(({ relayed }) => relayed?.address === address) || this.#meter.relayAt(address) !== undefined
    );
  }

  /** A path through the relay has died. */
  suspect(key: RelayKey): void {
    this.#meter.suspect(key);
  }

  /** Finds out now which of these relays are there, because a pair is in doubt about the path that it uses. */
  verify(through: (key: RelayKey) => boolean): void {
    for (const [id, { relay }] of this.#kept) if (through(relayKey(id))) relay.verify();
    this.#meter.verify(through);
  }

  /** One address of each operator's relay that speaks UDP. */
  async stunServers(signal: AbortSignal): Promise<Endpoint[]> {
    const { control, network } = this.#components;
    const servers: Endpoint[] = [];
    for (const url of control.relays().flatMap(({ urls }) => urls)) {
      if (servers.length >= MAX_STUN_SERVERS) break;
      const server = parseRelayUrl(url);
      if (server?.transport !== 'udp') continue;
      const address = await resolveRelay(network, server.host, signal).catch(() => undefined);
      if (address !== undefined) servers.push({ address, port: server.port });
    }
    return servers;
  }

  /** The list of relays, or what the pairs want, has changed. A session that is still wanted goes on. */
  update(): void {
    if (this.#closed) return;
    this.#meter.update();
    const relays = this.#known();
    const wanted = this.#wanted(relays);
    this.#timer?.cancel();
    this.#timer = undefined;
    const nowMs = this.#components.clock.now();
    for (const [id, entry] of [...this.#kept]) {
      const relay = relays.find((each) => each.id === id);
      const isSame = relay?.urls.join(' ') === entry.urls;
      if (isSame && wanted.includes(relay!)) {
        entry.unwantedAtMs = undefined;
        continue;
      }
      entry.unwantedAtMs ??= nowMs;
      const leftMs = isSame ? entry.unwantedAtMs + LINGER_MS - nowMs : 0;
      if (leftMs > 0) this.#timer ??= this.#components.clock.timer(leftMs, () => this.update());
      else this.#end(id, entry.relay);
    }
    for (const relay of wanted) if (!this.#kept.has(relay.id) && this.#mayOpen()) this.#open(relay);
  }

  /** The network may let UDP pass again: relays that are reached over TCP or TLS are asked over UDP now. */
  retryUdp(): void {
    for (const { relay } of this.#kept.values()) relay.retryUdp();
  }

  /** Asks for everything anew: the network has changed. */
  restart(): void {
    for (const { relay } of this.#kept.values()) relay.restart();
    this.#meter.restart();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#meter.close();
    for (const [id, { relay }] of [...this.#kept]) this.#end(id, relay);
    while (this.#ending.size > 0) await Promise.all(this.#ending);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Relays that may be used, the same for all members that see the same lists; bounded. */
  #known(): MeshRelay[] {
    const { control } = this.#components;
    const { party, self } = this.#options;
    const listed = control.relays().filter((relay) => ownerOf(relay) === undefined);
    const healthy = listed.filter((relay) => relay.healthy);
    const operators = (healthy.length > 0 ? healthy : listed).toSorted((a, b) => a.load - b.load);
    const peers = (control.party(party)?.peers ?? []).filter(({ id }) => id !== self);
    const members = memberRelays(peers)
      .map((relay) => ({ relay, order: pairOrder(party, relay.id) }))
      .toSorted((a, b) => (a.order < b.order ? -1 : 1))
      .map(({ relay }) => relay);
    // What is held stays in the list when loads change.
    const held = (relay: MeshRelay) => Number(this.#kept.has(relay.id));
    return [
      ...operators.toSorted((a, b) => held(b) - held(a)).slice(0, MAX_OF_A_KIND),
      ...members.slice(0, MAX_OF_A_KIND),
    ];
  }

  /** First those of before the choice, then what the pairs want. */
  #wanted(relays: readonly MeshRelay[]): MeshRelay[] {
    const { figures } = this.#meter;
    // A member's relay is used only when it has answered.
    const usable = relays.filter((relay) => ownerOf(relay) === undefined || figures.has(relayKey(relay.id)));
    const kept = this.#home.filter((id) => usable.some((relay) => relay.id === id));
    const added = usable.map(({ id }) => id).filter((id) => !kept.includes(id));
    this.#home = [...kept, ...added].slice(0, this.#options.relays ?? DEFAULT_RELAYS);
    const byKey = new Map(usable.map((relay) => [relayKey(relay.id), relay]));
    const home = usable.filter(({ id }) => this.#home.includes(id));
    const wanted = this.#options.wanted().map((key) => byKey.get(key));
    return [...new Set([...home, ...wanted.filter((relay) => relay !== undefined)])].slice(0, MAX_SESSIONS);
  }

  #open(relay: MeshRelay): void {
    const { authorities, isUsed, onSession } = this.#options;
    const offered = relay.urls.map(parseRelayUrl);
    const credentials = (signal: AbortSignal) => this.#credentials(relay, signal);
    const kept = new KeptRelay(this.#components, {
      open: (options) => new RelaySession(this.#components, { ...options, relay, credentials, authorities }),
      offers: (transports) => offered.some((each) => each !== undefined && transportsOf(each) === transports),
      mayOpen: () => this.#mayOpen(),
      isUsed,
      onChange: onSession,
    });
    this.#kept.set(relay.id, { relay: kept, urls: relay.urls.join(' '), unwantedAtMs: undefined });
  }

  #mayOpen(): boolean {
    return [...this.#kept.values()].reduce((sum, { relay }) => sum + relay.size, 0) < MAX_SESSIONS;
  }

  #end(id: string, relay: KeptRelay): void {
    this.#kept.delete(id);
    const ending = relay
      .close()
      .catch((error: unknown) => this.#components.log.debug(`A relay did not close: ${errorMessage(error)}`))
      .then(() => {
        this.#ending.delete(ending);
      });
    this.#ending.add(ending);
  }

  async #credentials(relay: MeshRelay, signal: AbortSignal): Promise<RelayCredentials> {
    const { control, clock } = this.#components;
    const owner = ownerOf(relay);
    if (owner === undefined) return control.turnCredentials({ signal });
    const { party, self, wireGuardKey: own } = this.#options;
    const peer = control.party(party)?.peers.find(({ id }) => id === owner);
    const password = peer && partyRelayPassword({ party, relay: owner, user: self, own, theirs: peer.wireGuardKey });
    if (password === undefined) throw new AbortedError('The member that relays is not in the party any more.');
    const expiresAtMs = clock.wallTime() + FOREVER_MS;
    return { username: self, credential: password, expiresAtMs, urls: relay.urls };
  }
}
