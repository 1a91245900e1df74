import { type Clock, errorMessage, type Log, Mutex, type Random } from '@towpath/core';
import type { PartyId, PeerId, WireGuardKey } from '@towpath/membership';
import { type Endpoint, isPrivateAddress, type Network, type Subnet } from '@towpath/net';
import { type ChosenPlane, openRelayPlane, STUN_PATTERN, type System } from '@towpath/splice';
import { TurnServer } from '@towpath/stun/server';
import type { ControlPlane } from '../control-plane.ts';
import { partyRelayPassword } from './party-credentials.ts';
import { encodeAnnouncement, isReachable } from './relay-announcement.ts';

export interface PartyRelayComponents {
  network: Network;
  clock: Clock;
  random: Random;
  log: Log;
  control: ControlPlane;
  /** The host, whose kernel forwards data where it can; without it, this process does. */
  system?: System | undefined;
}

export interface PartyRelayOptions {
  party: PartyId;
  self: PeerId;
  wireGuardKey: WireGuardKey;
  /** UDP and TCP. @default 3478 */
  port?: number | undefined;
  /** First and last port of relayed addresses. @default [49152, 65535] */
  relayPorts?: readonly [number, number] | undefined;
  /** Public address whose ports a router forwards to this machine; without it, an interface must have a public one. */
  address?: string | undefined;
  /** Relayed addresses of all members together. @default 128 */
  sessions?: number | undefined;
  /** Relayed bytes per second of all members together, both directions. @default 5,000,000 */
  bytesPerSecond?: number | undefined;
  /** Networks that may be relayed to besides the public Internet. */
  allow?: readonly Subnet[] | undefined;
  /** Interfaces that do not count: those of WireGuard itself. */
  isOwnInterface?: ((name: string) => boolean) | undefined;
}

/** What a member's relay does now. */
export interface PartyRelayStatus {
  /**
   * `no-address`: this machine has no public address; `failed`: the ports could not be opened; `unverified`: no member has used it
   * yet, so that nobody knows whether it is reachable; `reachable`: a member has been given a relayed address.
   */
  readonly state: 'no-address' | 'failed' | 'unverified' | 'reachable';
  /** Where the members reach it; undefined while they do not. */
  readonly address: Endpoint | undefined;
  /** Why it failed. */
  readonly problem: string | undefined;
  /** Relayed addresses at this moment. */
  readonly sessions: number;
  readonly maxSessions: number;
  readonly relayedBytes: number;
  readonly bytesPerSecond: number;
  /** Where data without frames passes, and why; undefined while it does not relay. */
  readonly data: { readonly plane: 'kernel' | 'user'; readonly reason: string } | undefined;
}

const DEFAULT_PORT = 3_478;
/** Members ask for one as soon as they hear of the relay, whether they need it or not. */
const DEFAULT_SESSIONS = 128;
const DEFAULT_BYTES_PER_SECOND = 5_000_000;
/** A member needs one relayed address, and two while its network changes, or while it moves between UDP and TCP. */
const SESSIONS_PER_MEMBER = 4;
/** The part of the rate that one member may use at most, so that the others are relayed for too. */
const MEMBER_SHARE = 0.5;

/** Where the server listens, and what it is called from outside. */
interface Place {
  readonly address: string;
  readonly announced: string;
}

/**
 * A TURN server of one member for its party. Its users are the members of the party, each with a password that only the two
 * know; who was removed is refused at once, and strangers have no password. The others hear of it by this member's announcement.
 */
export class PartyRelay implements AsyncDisposable {
  readonly #components: PartyRelayComponents;
  readonly #options: PartyRelayOptions;
  /** The server looks here at each request. */
  readonly #users: Record<PeerId, string> = Object.create(null);
  readonly #keys = new Map<PeerId, Uint8Array>();
  readonly #turn = new Mutex();
  readonly #stops: (() => void)[] = [];
  #server: TurnServer | undefined;
  #data: ChosenPlane | undefined;
  #place: Place | undefined;
  #problem: string | undefined;
  #closed = false;

  private constructor(components: PartyRelayComponents, options: PartyRelayOptions) {
    this.#components = { ...components, log: components.log.child('RELAY') };
    this.#options = options;
  }

  /** Begins to relay, if this machine has a public address; if it gets one later, then. */
  static async open(components: PartyRelayComponents, options: PartyRelayOptions): Promise<PartyRelay> {
    const relay = new PartyRelay(components, options);
    relay.#readMembers();
    await relay.#update();
    const changes = components.network.changes.subscribe(() => void relay.#update());
    relay.#stops.push(
      () => changes[Symbol.dispose](),
      components.control.events.on('party', ({ id }) => {
        if (id === options.party) relay.#readMembers();
      }),
    );
    return relay;
  }

  get status(): PartyRelayStatus {
    const stats = this.#server?.stats;
    const place = this.#place;
    const running = stats === undefined || place === undefined ? undefined : { stats, place };
    return {
      state:
        running === undefined
          ? this.#problem === undefined
            ? 'no-address'
            : 'failed'
          : running.stats.allocated > 0
            ? 'reachable'
            : 'unverified',
      address: running && { address: running.place.announced, port: this.#port },
      problem: this.#problem,
      sessions: stats?.allocations ?? 0,
      maxSessions: this.#options.sessions ?? DEFAULT_SESSIONS,
      relayedBytes: relayedBytes(stats),
      bytesPerSecond: this.#options.bytesPerSecond ?? DEFAULT_BYTES_PER_SECOND,
      data: running &&
        this.#data && { plane: this.#data.plane === undefined ? 'user' : 'kernel', reason: this.#data.reason },
    };
  }

  /** Ends it; the others hear so. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const stop of this.#stops.splice(0)) stop();
    using _turn = await this.#turn.acquire();
    await this.#stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get #port(): number {
    return this.#options.port ?? DEFAULT_PORT;
  }

  /** Takes over who is a member now, and ends what removed ones have. */
  #readMembers(): void {
    const { party, self, wireGuardKey: own } = this.#options;
    const peers = this.#components.control.party(party)?.peers ?? [];
    const present = new Set(peers.map(({ id }) => id));
    const isStale = (id: PeerId, key: Uint8Array | undefined) =>
      !present.has(id) || (key !== undefined && !sameBytes(key, this.#keys.get(id)));
    for (const id of [...this.#keys.keys()]) {
      if (!isStale(id, peers.find((peer) => peer.id === id)?.wireGuardKey)) continue;
      delete this.#users[id];
      this.#keys.delete(id);
      this.#server?.endAllocations((_username, user) => user === id);
    }
    for (const { id, wireGuardKey: theirs } of peers) {
      if (this.#keys.has(id)) continue;
      const password = partyRelayPassword({ party, relay: self, user: id, own, theirs });
      if (password === undefined) continue;
      this.#users[id] = password;
      this.#keys.set(id, theirs);
    }
  }

  /** Listens where the machine is reachable now. */
  async #update(): Promise<void> {
    using _turn = await this.#turn.acquire();
    if (this.#closed) return;
    const place = this.#findPlace();
    if (place?.address === this.#place?.address && place?.announced === this.#place?.announced) return;
    await this.#stop();
    if (place === undefined) return;
    try {
      const data = await this.#chooseData(place);
      try {
        this.#server = await this.#listen(place, data);
      } catch (error) {
        data.plane?.close();
        throw error;
      }
      this.#data = data;
      this.#place = place;
      this.#problem = undefined;
      this.#announce();
    } catch (error) {
      this.#problem = errorMessage(error);
      this.#components.log.warn(`This machine does not relay for the party: ${this.#problem}`);
    }
  }

  async #chooseData({ address }: Place): Promise<ChosenPlane> {
    const { system, clock, random, log } = this.#components;
    if (system === undefined) return { plane: undefined, reason: 'The kernel is not to forward.' };
    const data = await openRelayPlane(
      { system, clock, random, log },
      { addresses: [address], control: [STUN_PATTERN] },
    );
    log.info(`Data is relayed by ${data.plane === undefined ? 'this process' : 'the kernel'}`, { reason: data.reason });
    return data;
  }

  #listen({ address, announced }: Place, { plane }: ChosenPlane): Promise<TurnServer> {
    const { relayPorts, sessions = DEFAULT_SESSIONS, allow } = this.#options;
    const { bytesPerSecond = DEFAULT_BYTES_PER_SECOND } = this.#options;
    const { network, clock, random, log } = this.#components;
    const components = { network, clock, random, log, plane };
    return TurnServer.listen(components, {
      realm: 'towpath-party',
      listeners: [
        { address, port: this.#port },
        { address, port: this.#port, transport: 'tcp' },
      ],
      relay: [{ address, announce: announced }],
      ...(relayPorts && { relayPorts }),
      credentials: { users: this.#users },
      limits: {
        allocations: sessions,
        allocationsPerUser: Math.min(sessions, SESSIONS_PER_MEMBER),
        plainPorts: sessions,
        plainPortsPerUser: Math.min(sessions, SESSIONS_PER_MEMBER * 4),
      },
      groups: [
        { name: 'party', groupOf: () => 'party', allocations: sessions, bytesPerSecond },
        {
          name: 'member',
          groupOf: (user) => user,
          allocations: sessions,
          bytesPerSecond: bytesPerSecond * MEMBER_SHARE,
          isPart: true,
        },
      ],
      ...(allow && { peers: { allow } }),
    });
  }

  async #stop(): Promise<void> {
    const server = this.#server;
    const data = this.#data;
    this.#server = undefined;
    this.#data = undefined;
    this.#place = undefined;
    this.#problem = undefined;
    if (server === undefined) return;
    this.#announce();
    await server.close();
    data?.plane?.close();
  }

  #announce(): void {
    const { control, log } = this.#components;
    const relay = this.#place && { port: this.#port, addresses: [this.#place.announced] };
    try {
      control.announce(this.#options.party, encodeAnnouncement({ relay }));
    } catch (error) {
      // This node has left the party, or was removed.
      log.debug(`The relay was not announced: ${errorMessage(error)}`);
    }
  }

  #findPlace(): Place | undefined {
    const { address: given, isOwnInterface } = this.#options;
    const own = this.#components.network
      .interfaces()
      .filter(({ name, family, internal }) => family === 4 && !internal && !isOwnInterface?.(name))
      .map(({ address }) => address);
    if (given === undefined) {
      const address = own.find(isReachable);
      return address === undefined ? undefined : { address, announced: address };
    }
    const address = own.includes(given) ? given : own.find(isPrivateAddress);
    return address === undefined ? undefined : { address, announced: given };
  }
}

/** The kernel's packets are in no other counter. */
function relayedBytes(stats: TurnServer['stats'] | undefined): number {
  if (stats === undefined) return 0;
  const { bytesToPeers, bytesToClients, kernel } = stats;
  return bytesToPeers + bytesToClients + (kernel?.bytesFromA ?? 0) + (kernel?.bytesFromB ?? 0);
}

function sameBytes(a: Uint8Array, b: Uint8Array | undefined): boolean {
  return b !== undefined && Buffer.compare(a, b) === 0;
}
