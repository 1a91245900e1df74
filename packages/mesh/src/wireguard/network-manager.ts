import { type Clock, errorMessage, Events, type Log, type Random, silentLog } from '@towpath/core';
import type { PeerId } from '@towpath/membership';
import { broadcastAddress, type Endpoint, type Network, parseSubnet, type Subnet } from '@towpath/net';
import { NodeSystem, PrefixTranslation } from '@towpath/splice';
import { usedNetworks } from '../addresses/used-networks.ts';
import { addressIn, overlaps, parseVirtualNetwork, requireFreeNetwork } from '../addresses/virtual-network.ts';
import { FilterControl, type FilterStatus } from '../filter/filter-control.ts';
import { Gateway, type Offer, readOffers } from '../gateway/gateway.ts';
import type { PeerNetwork } from '../connection/peer-network.ts';
import { EchoService } from '../health/echo-service.ts';
import { HostSpliceControl } from '../hop/host-splice-control.ts';
import type { SpliceControl } from '../hop/splice-control.ts';
import { LanForwarder } from '../lan/lan-forwarder.ts';
import { MeshError } from '../mesh-error.ts';
import { type NamedMember, PartyNames } from '../names/names.ts';
import { Ledger } from '../state/ledger.ts';
import { type Commands, SystemCommands } from './command.ts';
import { PartyRoutes } from './party-routes.ts';
import type { PeerChange, WireGuardDevice, WireGuardPeer } from './device.ts';
import { requireLinux, type WireGuardBackend, WireGuardInterface } from './wireguard-interface.ts';

export interface NetworkManagerComponents {
  network: Network;
  clock: Clock;
  random: Random;
  /** @default the programs of this machine */
  commands?: Commands;
  log?: Log | undefined;
}

export interface NetworkManagerOptions {
  /** Of the interface; see {@link interfaceNameFor}. */
  interfaceName: string;
  /** 32 bytes. */
  privateKey: Uint8Array;
  /** Own virtual address in `virtualNetwork`. */
  address: string;
  /** Where what is made is recorded. */
  stateFolder: string;
  /** In which this machine sees the party, 16 bits. @default '10.66.0.0/16' */
  virtualNetwork?: string;
  /** Of the party, 16 bits; the kernel translates between the two when they differ. @default `virtualNetwork` */
  partyNetwork?: string;
  /** Largest packet in the tunnel, bytes. @default 1420 */
  mtuBytes?: number;
  /** @default 'auto' */
  backend?: WireGuardBackend | 'auto';
  /** @default '/etc/hosts'; false: no names */
  hostsPath?: string | false;
  /** See {@link hostNames}. @default 'internal' */
  domain?: string | undefined;
  /** Let the kernel carry direct paths. @default true */
  splice?: boolean;
  /** Forward broadcasts and multicasts between the members. @default false */
  lan?: boolean;
  /** What this node tells the members with each echo; see {@link encodeHeadNote}. @default nothing */
  note?: (() => Uint8Array) | undefined;
  /** Networks beside this machine that members may reach. @default none */
  offers?: readonly Offer[];
}

export interface NetworkManagerEvents {
  /** The interface was gone and was made again with all its peers. */
  restored: { message: string };
  /** The interface is gone and could not be made again; it is tried again. */
  lost: { message: string };
}

const DEFAULT_MTU_BYTES = 1_420;
const DEFAULT_NETWORK = '10.66.0.0/16';
const RESTORE_MS = 5_000;

/**
 * Everything of one party on this machine: the WireGuard interface with its peers, names, broadcast forwarding, offered
 * networks and the party filter. Nothing else of the machine is touched, and all of it is gone after `cleanup()`, or found
 * and removed after a crash.
 */
export class NetworkManager implements PeerNetwork, AsyncDisposable {
  readonly events: Events<NetworkManagerEvents> = new Events();
  /** Why accepted networks are not routed to their members, by network. */
  readonly notRouted: Map<string, string> = new Map();
  readonly #components: NetworkManagerComponents & { commands: Commands; log: Log };
  readonly #options: NetworkManagerOptions;
  readonly #closing = new AbortController();
  /** What every peer was last given, by key (hex), for an interface that has to be made again. */
  readonly #peers = new Map<string, PeerChange>();
  #ledger: Ledger | undefined;
  #wireguard: WireGuardInterface | undefined;
  #names: PartyNames | undefined;
  #lan: LanForwarder | undefined;
  #gateway: Gateway | undefined;
  #filter: FilterControl | undefined;
  #translation: PrefixTranslation | undefined;
  /** Set when the party's network is another one than this machine sees. */
  #networks: { inside: Subnet; outside: Subnet } | undefined;
  #echo: EchoService | undefined;
  #splice: HostSpliceControl | undefined;
  /** Addresses of the peers in the party's network. */
  readonly #addresses = new Set<string>();
  readonly #routes: PartyRoutes;
  #reading: Promise<WireGuardDevice> | undefined;
  #restoring: Promise<void> | undefined;
  #listenPort = 0;

  constructor(components: NetworkManagerComponents, options: NetworkManagerOptions) {
    this.#components = {
      ...components,
      commands: components.commands ?? new SystemCommands(),
      log: components.log ?? silentLog,
    };
    this.#options = options;
    this.#routes = new PartyRoutes(this.#components, options);
  }

  /**
   * Makes the interface and what else the options ask for. When a step fails, the steps before it are undone.
   * @throws MeshError `platform-unsupported`, `already-running`, `address-conflict`, `permission-denied`,
   *   `program-missing`, `interface-exists`, `wireguard-failed`, `command-failed`, `disk-failed`, `bad-argument`.
   */
  async initialize(signal?: AbortSignal): Promise<void> {
    requireLinux();
    const { commands } = this.#components;
    const { interfaceName, stateFolder, virtualNetwork = DEFAULT_NETWORK, offers = [], lan, address } = this.#options;
    const network = readNetwork(virtualNetwork);
    const outside = readNetwork(this.#options.partyNetwork ?? virtualNetwork);
    this.#ledger = await Ledger.open(this.#components, { folder: stateFolder, name: interfaceName });
    try {
      requireFreeNetwork(network, await usedNetworks(commands, signal), interfaceName);
      if (outside.address !== network.address) this.#networks = { inside: network, outside };
      // Before the interface, so that nothing passes it unfiltered.
      this.#filter = await FilterControl.open(this.#components, {
        ...{ interfaceName, address, network },
        offers: readOffers(offers),
      });
      await this.#open(signal);
      await this.#translate();
      if (this.#options.splice !== false) {
        this.#splice = await HostSpliceControl.open(this.#components, this.#listenPort);
      }
      this.#echo = await EchoService.open(this.#components, {
        address,
        isMember: (from) => this.#addresses.has(from),
        note: this.#options.note,
      });
      const { hostsPath, domain } = this.#options;
      if (hostsPath !== false) {
        this.#names = new PartyNames({ ledger: this.#ledger }, { marker: interfaceName, hostsPath, domain });
      }
      if (lan) {
        const broadcast = broadcastAddress(network.address, network.prefixLength)!;
        const components = { ...this.#components, ledger: this.#ledger };
        this.#lan = new LanForwarder(components, { interfaceName, address, broadcast });
        await this.#lan.update([]);
      }
      if (offers.length > 0) {
        const components = { ...this.#components, ledger: this.#ledger };
        this.#gateway = await Gateway.open(components, { interfaceName, offers });
      }
    } catch (error) {
      await this.cleanup();
      throw error;
    }
  }

  /** Changes who may reach the offered networks. @throws MeshError `bad-argument`, SpliceError. */
  async setOffers(offers: readonly Offer[]): Promise<void> {
    if (this.#gateway !== undefined) await this.#filter?.setOffers(readOffers(offers));
  }

  /** Whether the machine keeps the party apart from its other networks; undefined before {@link initialize}. */
  get filter(): FilterStatus | undefined {
    return this.#filter?.status;
  }

  get interfaceName(): string {
    return this.#options.interfaceName;
  }

  get mtuBytes(): number {
    return this.#options.mtuBytes ?? DEFAULT_MTU_BYTES;
  }

  /** The kernel's data plane; undefined when it is switched off. */
  get splice(): SpliceControl | undefined {
    return this.#splice;
  }

  get echo(): EchoService {
    if (this.#echo !== undefined) return this.#echo;
    throw notInitialized();
  }

  /** UDP port of WireGuard itself, on all addresses; stays the same when the interface is made again. */
  get listenPort(): number {
    return this.#listenPort;
  }

  get backend(): WireGuardBackend | undefined {
    return this.#wireguard?.backend;
  }

  /** Adds a peer, or changes what `peer` names of it. @throws MeshError `wireguard-failed`. */
  async addPeer(peer: Omit<PeerChange, 'remove' | 'updateOnly'>): Promise<void> {
    const key = keyOf(peer.publicKey);
    const before = this.#peers.get(key);
    const after = { ...before, ...peer };
    this.#peers.set(key, after);
    for (const address of addressesOf(before)) this.#addresses.delete(address);
    for (const address of addressesOf(after)) this.#addresses.add(address);
    await this.#required().setPeer(this.#asCarried(peer));
  }

  /** Removes a peer and what routes lead to it. Does nothing for one that is not there. */
  async removePeer(publicKey: Uint8Array): Promise<void> {
    const peer = this.#peers.get(keyOf(publicKey));
    for (const address of addressesOf(peer)) this.#addresses.delete(address);
    this.#peers.delete(keyOf(publicKey));
    await this.#wireguard?.removePeer(publicKey);
  }

  /** Forgets the peer's session, so that the next packet begins a handshake at once and not after WireGuard's 5 s. */
  async restartPeer(publicKey: Uint8Array): Promise<void> {
    const peer = this.#peers.get(keyOf(publicKey));
    if (peer === undefined) return;
    await this.#required().configure({ peers: [{ publicKey, remove: true }, this.#asCarried(peer)] });
  }

  async setEndpoint(publicKey: Uint8Array, endpoint: Endpoint, signal?: AbortSignal): Promise<void> {
    const key = keyOf(publicKey);
    const peer = this.#peers.get(key);
    if (peer === undefined) return;
    this.#peers.set(key, { ...peer, endpoint });
    await this.#required().setEndpoint(publicKey, endpoint, signal);
  }

  async peer(publicKey: Uint8Array): Promise<WireGuardPeer | undefined> {
    const { peers } = await this.read();
    return peers.find((peer) => Buffer.from(peer.publicKey).equals(publicKey));
  }

  /** Statistics of all peers. Callers at the same time share one reading. @throws MeshError `wireguard-failed`. */
  read(): Promise<WireGuardDevice> {
    this.#reading ??= this.#required()
      .read()
      .finally(() => {
        this.#reading = undefined;
      });
    return this.#reading;
  }

  /** Sets the largest packet to one peer; undefined for the interface's own. */
  async setPeerMtu(address: string, mtuBytes: number | undefined): Promise<void> {
    const isOwn = mtuBytes === undefined || mtuBytes >= this.mtuBytes;
    await this.#routes.setMtu(address, isOwn ? undefined : mtuBytes);
  }

  /**
   * Routes an accepted network into the tunnel, as {@link PartyRoutes.add}; where that is not possible, the peer is reached all the
   * same and {@link NetworkManager.notRouted} says why.
   * @throws MeshError `command-failed`
   */
  async addRoute(network: string): Promise<void> {
    const reason = await this.#routes.add(network);
    if (reason !== undefined) {
      const message = `${network} is not routed to its member. ${reason}`;
      this.#components.log.warn(message);
      this.notRouted.set(network, message);
      return;
    }
    this.notRouted.delete(network);
    await this.#filter?.addNetwork(network);
  }

  /** True for addresses of accepted networks that are routed into the tunnel. */
  isRouted(address: string): boolean {
    return this.#routes.includes(address);
  }

  async removeRoute(network: string): Promise<void> {
    this.notRouted.delete(network);
    await this.#routes.remove(network);
    await this.#filter?.removeNetwork(network);
  }

  /**
   * Sets who is named in the hosts file.
   * @returns the names by member id; empty when names are off.
   * @throws MeshError `disk-failed`.
   */
  setNames(partyName: string, members: readonly NamedMember[]): ReadonlyMap<PeerId, string> {
    return this.#names?.update(partyName, members) ?? new Map();
  }

  /** Sets who gets copies of broadcasts; does nothing when that is off. */
  async setReceivers(addresses: readonly string[]): Promise<void> {
    await this.#lan?.update(addresses);
  }

  /**
   * Removes everything from the machine. Idempotent.
   * @throws MeshError when something cannot be removed; it stays in the ledger, and everything else is removed.
   */
  async cleanup(): Promise<void> {
    this.#closing.abort();
    await this.#restoring;
    // Closed last to first, each also when another one fails.
    await using _ledger = this.#ledger;
    using _filter = this.#filter;
    await using _translation = this.#translation;
    await using _gateway = this.#gateway;
    await using _wireguard = this.#wireguard;
    await using _lan = this.#lan;
    await using _echo = this.#echo;
    using _splice = this.#splice;
    this.#wireguard = undefined;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.cleanup();
  }

  async #open(signal?: AbortSignal): Promise<void> {
    const { interfaceName: name, privateKey, address, backend } = this.#options;
    const wireguard = await WireGuardInterface.open(
      { ...this.#components, ledger: this.#ledger! },
      { name, privateKey, address, backend, mtuBytes: this.mtuBytes, listenPort: this.#listenPort, signal },
    );
    this.#wireguard = wireguard;
    this.#listenPort = wireguard.listenPort;
    wireguard.events.on('lost', ({ message }) => {
      this.#restoring = this.#restore(message);
    });
  }

  /** @throws MeshError `address-conflict` when the kernel cannot translate. */
  async #translate(): Promise<void> {
    if (this.#networks === undefined) return;
    const { interfaceName } = this.#options;
    const { inside, outside } = this.#networks;
    try {
      this.#translation = await PrefixTranslation.open(
        { ...this.#components, system: new NodeSystem() },
        { interfaceName, instance: interfaceName.replace(/^tp-/, ''), inside, outside },
      );
    } catch (cause) {
      throw new MeshError(
        'address-conflict',
        `The party's network ${outside.address}/${outside.prefixLength} is in use on this machine, and the kernel cannot translate it ` +
          `(${errorMessage(cause)}). Next: install nftables, for example with "apt install nftables".`,
        { target: interfaceName, cause },
      );
    }
  }

  /** A peer as WireGuard is given it: with addresses of the party's network. */
  #asCarried<Change extends Pick<PeerChange, 'allowedIps'>>(peer: Change): Change {
    const { allowedIps } = peer;
    if (this.#networks === undefined || allowedIps === undefined) return peer;
    const { inside, outside } = this.#networks;
    return {
      ...peer,
      allowedIps: allowedIps.map((text) => {
        const subnet = parseSubnet(text);
        if (subnet?.prefixLength !== 32 || !overlaps(inside, subnet)) return text;
        return `${addressIn(outside, subnet.address)}/32`;
      }),
    };
  }

  /** Makes an interface again that somebody else removed, or whose process ended. */
  async #restore(message: string): Promise<void> {
    const { clock, log } = this.#components;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        await this.#wireguard?.close();
        await this.#open(signal);
        await this.#required().configure({ peers: [...this.#peers.values()].map((peer) => this.#asCarried(peer)) });
        await this.#routes.restore();
        log.warn('The WireGuard interface was made again.', { message });
        this.events.emit('restored', { message });
        return;
      } catch (error) {
        if (signal.aborted) return;
        this.events.emit('lost', { message: errorMessage(error) });
        await clock.sleep(RESTORE_MS, signal).catch(() => {});
      }
    }
  }

  #required(): WireGuardInterface {
    if (this.#wireguard !== undefined) return this.#wireguard;
    throw notInitialized();
  }
}

function readNetwork(text: string): Subnet {
  const network = parseVirtualNetwork(text);
  if (network !== undefined) return network;
  throw new MeshError('bad-argument', `"${text}" is no private IPv4 network of 16 bits.`);
}

function notInitialized(): MeshError {
  return new MeshError('bad-argument', 'The network is not initialized. Next: call initialize() first.');
}

/** The single addresses that a peer may use. */
function addressesOf(peer: PeerChange | undefined): string[] {
  return (peer?.allowedIps ?? []).filter((network) => network.endsWith('/32')).map((network) => network.slice(0, -3));
}

function keyOf(publicKey: Uint8Array): string {
  return Buffer.from(publicKey).toString('hex');
}
