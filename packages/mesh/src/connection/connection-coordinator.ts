import type { PathPolicy, Random } from '@towpath/core';
import type { PartyId } from '@towpath/membership';
import { inSubnet, type Network, parseSubnet, type Subnet } from '@towpath/net';
import { addressIn } from '../addresses/virtual-network.ts';
import type { ControlPlane, MeshParty, MeshPeer } from '../control-plane.ts';
import type { SpliceControl } from '../hop/splice-control.ts';
import { memberNamed } from '../names/host-name.ts';
import { ConnectionError } from './connection-error.ts';
import { PeerConnection, type PeerConnectionComponents } from './peer-connection.ts';

/** Networks of one peer that this node accepts (C14). */
export interface AcceptedNetwork {
  /** Id or name of the peer. */
  readonly peer: string;
  readonly network: string;
}

export interface CoordinatorOptions {
  virtualNetwork: Subnet;
  policy?: PathPolicy;
  redundancy?: 1 | 2;
  accept?: readonly AcceptedNetwork[];
}

export interface CoordinatorComponents extends Pick<PeerConnectionComponents, 'clock' | 'log' | 'machine' | 'paths'> {
  network: Network;
  random: Random;
  /** Undefined when the splice is switched off. */
  splice: SpliceControl | undefined;
  control: ControlPlane;
}

/** Decides how a peer is connected, and does it: discovery, address, policy, WireGuard, paths, monitor (C2). */
export class ConnectionCoordinator {
  readonly #control: ControlPlane;
  readonly #components: PeerConnectionComponents;
  readonly #options: CoordinatorOptions;
  /** What is accepted from peers; those that are connected are told by {@link ConnectionManager.setAccepted}. */
  accept: readonly AcceptedNetwork[];

  constructor(components: CoordinatorComponents, options: CoordinatorOptions) {
    const { network, clock, random, log, machine, paths, splice, control } = components;
    this.#control = control;
    const dataPlane = { network, clock, random, wireGuard: machine, splice, log: log.child('DATA') };
    const health = { clock, random, echo: machine.echo, log: log.child('HEALTH') };
    this.#components = { clock, log, machine, paths, dataPlane, health };
    this.#options = options;
    this.accept = options.accept ?? [];
  }

  /** @throws ConnectionError `party-not-found`. */
  party(partyId: PartyId): MeshParty {
    const party = this.#control.party(partyId);
    if (party !== undefined) return party;
    throw new ConnectionError('party-not-found', `This node is not in the party ${partyId}. Next: join it first.`, {
      target: partyId,
    });
  }

  /** The member with this id or, when exactly one has it, this name. @throws ConnectionError `peer-not-found`. */
  discover(partyId: PartyId, peerId: string): MeshPeer {
    const { name, peers } = this.party(partyId);
    const byId = peers.find(({ id }) => id === peerId);
    const byName = peers.filter((peer) => peer.name === peerId);
    const found = byId ?? (byName.length === 1 ? byName[0] : undefined);
    if (found !== undefined) return found;
    const why = byName.length > 1 ? 'has several members of that name' : 'has no such member';
    throw new ConnectionError('peer-not-found', `Peer not found: the party ${name} ${why} (${peerId}).`, {
      target: peerId,
    });
  }

  /** The peer's address in the party's network. @throws ConnectionError `bad-peer`. */
  virtualIpOf(peer: Pick<MeshPeer, 'id' | 'name' | 'virtualAddress'>): string {
    const { virtualNetwork } = this.#options;
    const address = addressIn(virtualNetwork, peer.virtualAddress);
    if (inSubnet(address, virtualNetwork)) return address;
    throw new ConnectionError('bad-peer', `${peer.name} has an address outside the party's network.`, {
      target: peer.id,
    });
  }

  /** Begins to connect to a member; see {@link PeerConnection.open}. */
  open(party: PartyId, peer: MeshPeer): Promise<PeerConnection> {
    const { policy, redundancy } = this.#options;
    const virtualIp = this.virtualIpOf(peer);
    const acceptedNetworks = this.acceptedOf(party, peer);
    const self = this.party(party).self.id;
    return PeerConnection.open(this.#components, {
      ...{ party, self, peer, virtualIp, acceptedNetworks },
      ...{ policy, redundancy },
    });
  }

  /** The networks that are accepted from a member; see {@link memberNamed}. */
  acceptedOf(partyId: PartyId, peer: MeshPeer): string[] {
    const party = this.#control.party(partyId);
    const members = party === undefined ? [peer] : [party.self, ...party.peers];
    return this.accept
      .filter((each) => memberNamed(each.peer, members)?.id === peer.id)
      .map(({ network }) => network)
      .filter((network) => parseSubnet(network) !== undefined);
  }
}
