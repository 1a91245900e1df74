import { generateNodeIdentity, type Relay } from '@towpath/control';
import { LocalControlPlane } from '@towpath/control/local';
import { SystemClock, SystemRandom } from '@towpath/core';
import {
  type ConnectionConfig,
  ConnectionManager,
  type ControlPlane,
  MeshPathFinder,
  NATTraversal,
  type PeerNetwork,
} from '@towpath/mesh';
import { SimulatedWireGuard } from '@towpath/mesh/simulated';
import { type NatOptions, SimulatedInternet } from '@towpath/net/simulated';
import { TurnServer } from '@towpath/stun/server';
import { exampleArguments } from './failure.ts';

/** This node and one peer of its party. */
export interface ExamplePeers extends AsyncDisposable {
  readonly partyId: string;
  readonly peerId: string;
  readonly config: ConnectionConfig;
  readonly network: PeerNetwork;
  readonly nat: NATTraversal;
  readonly control: ControlPlane;
  /** Cuts the peer off, or connects it again. */
  setReachable(reachable: boolean): void;
  /** Starts another relay; the members hear of it. @param delayMs one-way delay of its link */
  addRelay(name: string, delayMs: number): Promise<void>;
}

const SECRET = 'example';

/**
 * Makes a party of two on a simulated internet with a relay: runs everywhere, without root. With `NetworkManager` for
 * `network`, the examples run on a real machine.
 * @param options.nat what both are behind. @default public addresses
 * @param options.relayDelayMs one-way delay of the relay's link. @default 5
 */
export async function examplePeers(options: { nat?: NatOptions; relayDelayMs?: number } = {}): Promise<ExamplePeers> {
  exampleArguments();
  const { nat: kind, relayDelayMs = 5 } = options;
  const clock = new SystemClock();
  const random = new SystemRandom();
  const internet = new SimulatedInternet({ clock, random }, { link: { delayMs: 5 } });
  const servers: TurnServer[] = [];
  const startRelay = async (id: string, delayMs: number): Promise<Relay> => {
    const { network, address } = internet.host({ name: id, link: { delayMs } });
    const init = { listeners: [{ address }], relay: [{ address }], credentials: { secrets: [SECRET] } };
    servers.push(await TurnServer.listen({ network, clock, random }, init));
    return { id, urls: [`turn:${address}:3478?transport=udp`], region: '', load: 0, healthy: true };
  };
  const relays = [await startRelay('relay1', relayDelayMs)];
  const control = await LocalControlPlane.start({ clock, random }, { turnSecret: SECRET, relays });
  let reachable = true;
  let peerAddresses: readonly string[] = [];
  internet.intercept(({ source, destination }, next) => {
    if (reachable || !(peerAddresses.includes(source) || peerAddresses.includes(destination))) next();
  });

  const member = async (name: string, enter: (node: Awaited<ReturnType<typeof control.node>>) => Promise<string>) => {
    const identity = generateNodeIdentity(random);
    const node = await control.node({ identity });
    const partyId = await enter(node);
    const gateway = kind && internet.nat(kind);
    const host = gateway?.host({ name }) ?? internet.host({ name });
    const machine = await SimulatedWireGuard.open({ network: host.network, clock, random });
    const self = node.party(partyId)!.self;
    const finder = await MeshPathFinder.open(
      { network: host.network, clock, random, control: node },
      { party: partyId, self: self.id, wireGuardKey: identity.wireGuard, portMapping: false },
    );
    return {
      node,
      machine,
      finder,
      partyId,
      self,
      host,
      network: host.network,
      address: gateway?.externalAddress ?? host.address,
    };
  };
  const peer = await member(
    'peer456',
    async (node) => (await node.createParty({ name: 'home', memberName: 'peer456' })).id,
  );
  const invite = await peer.node.invite(peer.partyId);
  const me = await member('me', async (node) => (await node.join(invite, { memberName: 'me' })).id);
  await peer.node.refresh(peer.partyId);
  peerAddresses = [peer.address, peer.host.address];
  const configOf = ({ network }: typeof me): ConnectionConfig => ({ components: { network, clock, random } });
  const peerNat = new NATTraversal({ finder: peer.finder });
  const other = new ConnectionManager(configOf(peer), peer.machine, peerNat, peer.node);
  await other.maintainParty(peer.partyId);
  const nat = new NATTraversal({ finder: me.finder });
  return {
    partyId: me.partyId,
    peerId: peer.self.id,
    config: configOf(me),
    network: me.machine,
    nat,
    control: me.node,
    setReachable: (value) => {
      reachable = value;
    },
    addRelay: async (name, delayMs) => control.service.reportOwnRelay(await startRelay(name, delayMs)),
    [Symbol.asyncDispose]: async () => {
      await other.close();
      await Promise.all([nat.close(), peerNat.close()]);
      await Promise.all([me.machine[Symbol.asyncDispose](), peer.machine[Symbol.asyncDispose]()]);
      await control.close();
      for (const server of servers) await server.close();
    },
  };
}
