import { join } from 'node:path';
import { errorMessage, type PathPolicy } from '@towpath/core';
import {
  type AcceptedNetwork,
  addressIn,
  ConnectionManager,
  encodeHeadNote,
  interfaceNameFor,
  isPartyInterface,
  MeshPathFinder,
  networkHere,
  NATTraversal,
  NetworkManager,
  parseVirtualNetwork,
  PartyRelay,
  type PartyRelayOptions,
  SystemCommands,
  type WireGuardBackend,
} from '@towpath/mesh';
import { NodeSystem } from '@towpath/splice';
import { UsageError } from '../../cli/failure.ts';
import type { Runtime } from '../../cli/runtime.ts';
import type { KnownParty } from '../../config/party-home.ts';
import { homeOf, PartyNode } from '../party/party-node.ts';
import { type Offering, offersFor } from './offers.ts';
import { pairMemoryFile } from './pair-memory-file.ts';

export interface MeshNodeOptions {
  splice: boolean;
  names: boolean;
  lan: boolean;
  offers: readonly Offering[];
  accept: readonly AcceptedNetwork[];
  policy: PathPolicy;
  redundancy: 1 | 2;
  /** Of the party, the same on all members. */
  network: string;
  /** In which this machine sees the party; see {@link chooseParties}. */
  networkHere: string;
  /** In which this machine sees its other parties. */
  otherNetworks: readonly string[];
  domain: string | undefined;
  port: number;
  /** Taken when `port` is 0 and it is free: that of the daemon before. */
  preferredPort?: number | undefined;
  mtuBytes: number;
  birthday: boolean;
  portMapping: boolean;
  backend: WireGuardBackend | 'auto';
  /** Undefined: this machine does not relay for the others. */
  relay: Omit<PartyRelayOptions, 'party' | 'self' | 'wireGuardKey' | 'isOwnInterface'> | undefined;
}

/** How long the start waits for a server; without one, the last verified list of members is used. */
const FIRST_ANSWER_MS = 3_000;

/** The folder of what was made on this machine. */
export function stateFolderOf({ configFolder }: Runtime): string {
  return join(configFolder, 'mesh');
}

/** Everything that connects this machine to the members of one party. */
export class MeshNode implements AsyncDisposable {
  readonly party: KnownParty;
  readonly node: PartyNode;
  readonly network: NetworkManager;
  readonly manager: ConnectionManager;
  readonly address: string;
  /** In which this machine sees the party. */
  readonly virtualNetwork: string;
  readonly relay: PartyRelay | undefined;
  /** UDP port of the path sockets. */
  readonly pathPort: number;
  /** In the order in which they were made. */
  readonly #parts: AsyncDisposableStack;

  private constructor(
    about: Pick<
      MeshNode,
      'party' | 'node' | 'network' | 'manager' | 'address' | 'virtualNetwork' | 'relay' | 'pathPort'
    >,
    parts: AsyncDisposableStack,
  ) {
    this.party = about.party;
    this.node = about.node;
    this.network = about.network;
    this.manager = about.manager;
    this.address = about.address;
    this.virtualNetwork = about.virtualNetwork;
    this.relay = about.relay;
    this.pathPort = about.pathPort;
    this.#parts = parts;
  }

  /**
   * Connects to the control plane, makes the interface and begins to connect to every member. When a step fails, the
   * steps before it are undone.
   * @throws UsageError, MeshError, NetError, ControlError.
   */
  static async open(runtime: Runtime, party: KnownParty, options: MeshNodeOptions): Promise<MeshNode> {
    const { network: sockets, clock, random, log } = runtime;
    const wanted = parseVirtualNetwork(options.networkHere);
    if (wanted === undefined || parseVirtualNetwork(options.network) === undefined) {
      throw new UsageError('--network must be a private IPv4 network of 16 bits, such as 10.77.0.0/16.');
    }
    const { wireGuard } = await homeOf(runtime).identityIn(party.id);
    await using undo = new AsyncDisposableStack();
    const node = undo.use(await PartyNode.open(runtime, party.servers, { party: party.id, live: true }));
    await node.askFirst(party.id, FIRST_ANSWER_MS);
    const view = node.client.party(party.id);
    if (view === undefined) throw new UsageError(`This node is not in ${party.name} any more.`);
    const interfaceName = interfaceNameFor(party.id, view.self.id);
    const here = await networkHere(
      new SystemCommands(),
      {
        ...{ party: party.id, wanted, interfaceName },
        avoid: options.otherNetworks.flatMap((text) => parseVirtualNetwork(text) ?? []),
      },
      runtime.signal,
    );
    const virtualNetwork = parseVirtualNetwork(here)!;
    const address = addressIn(virtualNetwork, view.self.virtualAddress);
    const components = { network: sockets, clock, random, log: log.child('MESH') };
    const network = undo.use(
      new NetworkManager(components, {
        interfaceName,
        privateKey: wireGuard.privateKey,
        address,
        stateFolder: stateFolderOf(runtime),
        virtualNetwork: here,
        partyNetwork: options.network,
        mtuBytes: options.mtuBytes,
        backend: options.backend,
        hostsPath: options.names ? (runtime.io.env.TOWPATH_HOSTS ?? '/etc/hosts') : false,
        domain: options.domain,
        splice: options.splice,
        lan: options.lan,
        offers: offersFor(options.offers, view, virtualNetwork),
        note: () => encodeHeadNote(node.client.party(party.id)?.head),
      }),
    );
    await network.initialize(runtime.signal);
    const { client } = node;
    const finder = await MeshPathFinder.open(
      { ...components, control: client },
      {
        party: party.id,
        self: view.self.id,
        wireGuardKey: wireGuard,
        port: options.port,
        preferredPort: options.preferredPort,
        relayAuthorities: party.servers.ca,
        isOwnInterface: isPartyInterface,
        isRoutedIntoTunnel: (address) => network.isRouted(address),
        birthday: options.birthday,
        portMapping: options.portMapping,
        memory: pairMemoryFile(runtime),
      },
    );
    const nat = undo.use(new NATTraversal({ finder }));
    const { policy, redundancy, accept } = options;
    const manager = undo.use(
      new ConnectionManager({ components, virtualNetwork: here, policy, redundancy, accept }, network, nat, client),
    );
    // The connection to the server would be found dead only after its pings are missed.
    undo.use(sockets.changes.subscribe(() => client.reconnect()));
    const { offers } = options;
    if (offers.some((offer) => typeof offer !== 'string')) {
      // Members that join or leave change who may reach what.
      const stop = client.events.on('party', () => {
        network.setOffers(offersFor(offers, client.party(party.id), virtualNetwork)).catch((error: unknown) => {
          log.error(`Who may reach the offered networks could not be changed: ${errorMessage(error)}`);
        });
      });
      undo.defer(stop);
    }
    const relay =
      options.relay &&
      undo.use(
        await PartyRelay.open(
          {
            ...components,
            control: client,
            system: options.splice && process.platform === 'linux' ? new NodeSystem() : undefined,
          },
          {
            ...options.relay,
            party: party.id,
            self: view.self.id,
            wireGuardKey: wireGuard,
            isOwnInterface: isPartyInterface,
          },
        ),
      );
    await manager.maintainParty(party.id);
    return new MeshNode(
      { party, node, network, manager, address, virtualNetwork: here, relay, pathPort: finder.port },
      undo.move(),
    );
  }

  /** Tells the peers, and removes everything from the machine. What fails to close does not keep the rest. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#parts.disposeAsync();
  }
}
