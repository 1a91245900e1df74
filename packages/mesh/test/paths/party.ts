import { type Clock, Events, type Log, SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { generateWireGuardKey, type WireGuardKey } from '@towpath/membership';
import { type NatOptions, SimulatedInternet, type SimulatedInternetOptions } from '@towpath/net/simulated';
import {
  type PeerPolicyOptions,
  StunServer,
  type TimeLimitedCredentials,
  timeLimitedCredentials,
  TurnServer,
  type TurnServerOptions,
} from '@towpath/stun/server';
import type { Network } from '@towpath/net';
import {
  type ControlPlane,
  type MeshControlEvents,
  type MeshParty,
  type MeshPeer,
  MeshPathFinder,
  type MeshPathFinderOptions,
  type MeshRelay,
  type PeerPaths,
  type PeerPathsOptions,
} from '../../src/index.ts';

export const PARTY: string = 'a'.repeat(32);

const SECRET = 'secret';

export interface PartyMember {
  readonly peer: MeshPeer;
  readonly key: WireGuardKey;
  readonly network: Network;
  readonly finder: MeshPathFinder;
  readonly control: ControlPlane;
  /** Texts of the datagrams that arrived, with the path that they came over. */
  readonly received: string[];
  connect(to: PartyMember, options?: Partial<PeerPathsOptions>): PeerPaths;
}

/** Members of one party in a simulated internet, with a relay and a control plane that delivers signals after 20 ms. */
export class SimulatedParty {
  readonly clock: VirtualClock = new VirtualClock();
  readonly random: SeededRandom;
  readonly internet: SimulatedInternet;
  readonly members: PartyMember[] = [];
  readonly options: Partial<MeshPathFinderOptions>;
  /** Signals that were sent. */
  signals = 0;
  /** Decides which signals arrive. */
  passes: (data: Uint8Array) => boolean = () => true;
  /** Of members that are made later. */
  log: Log | undefined;
  /** Changes signals on their way. */
  alter: (data: Uint8Array, ends: { from: string; to: string }) => Uint8Array = (data) => data;
  /** Members that were removed, by id. */
  readonly removed: Set<string> = new Set();
  /** What members announce, by id. */
  readonly announcements: Map<string, Uint8Array> = new Map();
  readonly #controls = new Map<string, HubControl>();
  readonly #servers: (TurnServer | StunServer)[] = [];
  readonly #listen = new Map<TurnServer, () => Promise<TurnServer>>();
  #relays: MeshRelay[] = [];

  constructor(seed: number, options: Partial<MeshPathFinderOptions> = {}, internet: SimulatedInternetOptions = {}) {
    this.options = options;
    this.random = new SeededRandom(seed);
    this.internet = new SimulatedInternet({ clock: this.clock, random: this.random }, internet);
  }

  /**
   * Starts a relay; members hear of it.
   * @param peers which addresses it forwards to
   */
  async startRelay(peers: PeerPolicyOptions = {}, limits: TurnServerOptions['limits'] = {}): Promise<TurnServer> {
    const id = `r${this.#servers.length + 1}`;
    const { network, address } = this.internet.host({ name: id });
    const components = { network, clock: this.clock, random: this.random };
    const listen = () =>
      TurnServer.listen(components, {
        listeners: [{ address }, { address, transport: 'tcp' }],
        relay: [{ address }],
        credentials: { secrets: [SECRET] },
        peers,
        limits,
      });
    const relay = await listen();
    this.#listen.set(relay, listen);
    this.#servers.push(relay);
    const { port } = relay.locals[0]!;
    const urls = [`turn:${address}:${port}?transport=udp`, `turn:${address}:${port}?transport=tcp`];
    this.#relays = [...this.#relays, { id, urls, region: '', load: 0, healthy: true }];
    for (const control of this.#controls.values()) control.events.emit('relays', this.#relays);
    return relay;
  }

  /** Ends the program of a relay, which tells nobody. @returns starts it again at the same address, without its allocations */
  async killRelay(relay: TurnServer): Promise<() => Promise<TurnServer>> {
    const listen = this.#listen.get(relay)!;
    this.#servers.splice(this.#servers.indexOf(relay), 1);
    await this.clock.runUntil(relay.close());
    return async () => {
      const again = await listen();
      this.#listen.set(again, listen);
      this.#servers.push(again);
      return again;
    };
  }

  /** Starts a server that answers STUN alone, with RESPONSE-PORT (RFC 5780); members hear of it. */
  async startStun(): Promise<void> {
    const { network, address } = this.internet.host({ name: 'stun' });
    const server = await StunServer.listen({ network, clock: this.clock }, { address });
    this.#servers.push(server);
    const urls = [`turn:${address}:${server.local.port}?transport=udp`];
    this.listRelays([{ id: 'stun', urls, region: '', load: 0, healthy: false }, ...this.#relays]);
  }

  /** @param nat undefined: a public address. */
  async member(name: string, nat?: NatOptions): Promise<PartyMember> {
    const host = nat === undefined ? this.internet.host({ name }) : this.internet.nat(nat).host({ name });
    return this.memberOn(name, host.network);
  }

  /** @param clock of the member's process */
  async memberOn(name: string, network: Network, clock: Clock = this.clock): Promise<PartyMember> {
    const key = generateWireGuardKey(this.random);
    const number = this.members.length + 2;
    const peer: MeshPeer = {
      id: number.toString(16).padStart(32, '0'),
      name,
      wireGuardKey: key.publicKey,
      virtualAddress: `10.66.0.${number}`,
      joinedAtSequence: number,
      online: true,
      announcement: undefined,
    };
    const member = await this.#memberOf(peer, key, network, clock);
    this.members.push(member);
    return member;
  }

  /** Ends the program of a member, which tells nobody, and starts it again. @returns the member that takes its place */
  async restart(member: PartyMember): Promise<PartyMember> {
    await this.clock.runUntil(member.finder.close());
    const { peer, key, network } = member;
    const again = await this.clock.runUntil(this.#memberOf(peer, key, network, this.clock));
    this.members.splice(this.members.indexOf(member), 1, again);
    return again;
  }

  async #memberOf(peer: MeshPeer, key: WireGuardKey, network: Network, clock: Clock): Promise<PartyMember> {
    const control = new HubControl(this, peer);
    this.#controls.set(peer.id, control);
    const components = { network, clock, random: this.random, control, log: this.log };
    const finder = await MeshPathFinder.open(components, {
      party: PARTY,
      self: peer.id,
      wireGuardKey: key,
      ...this.options,
    });
    const received: string[] = [];
    const member: PartyMember = {
      peer,
      key,
      network,
      finder,
      control,
      received,
      connect: (to, options) =>
        finder.open({
          party: PARTY,
          peer: to.peer,
          onDatagram: (datagram) => received.push(textOf(datagram)),
          ...options,
        }),
    };
    return member;
  }

  /** Credentials that the relays take, for a member or for anybody else. */
  credentialsOf(user: string): TimeLimitedCredentials {
    return timeLimitedCredentials(SECRET, user, 3_600_000, this.clock.wallTime());
  }

  /** Relayed addresses that a member holds, on all relays. */
  allocationsOf(member: PartyMember): number {
    const user = userOf(member.peer);
    return this.#servers.filter((server) => server instanceof TurnServer && server.users.has(user)).length;
  }

  relays(): MeshRelay[] {
    return this.#relays;
  }

  /** Replaces the list of relays, as the control server tells it. */
  listRelays(relays: MeshRelay[]): void {
    this.#relays = relays;
    for (const control of this.#controls.values()) control.events.emit('relays', relays);
  }

  /** Removes a member from the party, or admits it again. */
  tellParty(): void {
    for (const control of this.#controls.values()) control.events.emit('party', { id: PARTY });
  }

  /** The peers as a member's control plane has them. */
  peersOf(self: MeshPeer): MeshPeer[] {
    return this.members
      .map(({ peer }) => peer)
      .filter((peer) => peer.id !== self.id && !this.removed.has(peer.id))
      .map((peer) => ({ ...peer, announcement: this.announcements.get(peer.id) }));
  }

  announce(from: MeshPeer, data: Uint8Array): void {
    this.announcements.set(from.id, data);
    const peer = { ...from, announcement: data };
    for (const [id, control] of this.#controls) {
      if (id !== from.id) control.events.emit('presence', { party: PARTY, peer });
    }
  }

  controlOf(member: MeshPeer): ControlPlane {
    return this.#controls.get(member.id)!;
  }

  deliver(from: MeshPeer, to: string, data: Uint8Array): void {
    this.signals++;
    if (!this.passes(data)) return;
    const signal = { party: PARTY, from: from.id, data: this.alter(data, { from: from.id, to }) };
    this.clock.timer(20, () => this.#controls.get(to)?.events.emit('signal', signal));
  }

  async close(): Promise<void> {
    await this.clock.runUntil(Promise.all(this.members.map(({ finder }) => finder.close())));
    for (const relay of this.#servers) await this.clock.runUntil(relay.close());
  }
}

class HubControl implements ControlPlane {
  readonly events: Events<MeshControlEvents> = new Events();
  readonly connected = true;
  readonly #party: SimulatedParty;
  readonly #self: MeshPeer;

  constructor(party: SimulatedParty, self: MeshPeer) {
    this.#party = party;
    this.#self = self;
  }

  party(id: string): MeshParty | undefined {
    const peers = this.#party.peersOf(this.#self);
    return id === PARTY ? { id, name: 'home', self: this.#self, peers } : undefined;
  }

  async signal(_party: string, peer: string, data: Uint8Array): Promise<void> {
    this.#party.deliver(this.#self, peer, data);
  }

  announce(_party: string, data: Uint8Array): void {
    this.#party.announce(this.#self, data);
  }

  relays(): readonly MeshRelay[] {
    return this.#party.relays();
  }

  async turnCredentials(): Promise<{ username: string; credential: string; expiresAtMs: number; urls: string[] }> {
    const { username, password, expiresAtMs } = this.#party.credentialsOf(userOf(this.#self));
    return { username, credential: password, expiresAtMs, urls: [] };
  }
}

/** A datagram that looks like transport data of WireGuard, with a text in it. */
export function datagramOf(text: string): Uint8Array {
  const bytes = new Uint8Array(Math.max(32, 16 + text.length));
  bytes[0] = 4;
  bytes.set(new TextEncoder().encode(text), 16);
  return bytes;
}

function textOf(datagram: Uint8Array): string {
  return new TextDecoder().decode(datagram.subarray(16)).replaceAll('\0', '');
}

function userOf({ id }: MeshPeer): string {
  return `member-${id}`;
}
