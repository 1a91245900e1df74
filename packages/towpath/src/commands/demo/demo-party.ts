import { type ControlClient, generateNodeIdentity } from '@towpath/control';
import { LocalControlPlane } from '@towpath/control/local';
import { Events } from '@towpath/core';
import { ConnectionManager, MeshPathFinder, NATTraversal, type NetworkManagerEvents } from '@towpath/mesh';
import { SimulatedWireGuard } from '@towpath/mesh/simulated';
import { type NatOptions, natKinds, SimulatedInternet } from '@towpath/net/simulated';
import { TurnServer } from '@towpath/stun/server';
import type { Runtime } from '../../cli/runtime.ts';
import type { KnownParty } from '../../config/party-home.ts';
import type { PartyMesh } from '../../daemon/parties/party-runner.ts';

const SECRET = 'demo';
const LINK_MS = 8;

type Components = Pick<Runtime, 'clock' | 'random' | 'log'>;

/** This node's side of a party, and what ends everything. */
export interface DemoParty extends AsyncDisposable {
  readonly party: KnownParty;
  readonly mesh: PartyMesh;
}

/**
 * Makes a party on a simulated internet: this node and `ben` behind port-restricted NATs, who meet directly, and `cabin` behind
 * a NAT that chooses a random port for each destination, which is reached through the relay.
 */
export async function demoParty(components: Components): Promise<DemoParty> {
  const { clock, random } = components;
  const internet = new SimulatedInternet({ clock, random }, { link: { delayMs: LINK_MS } });
  const { network, address } = internet.host({ name: 'relay' });
  await using stack = new AsyncDisposableStack();
  const relay = stack.adopt(
    await TurnServer.listen(
      { network, clock, random },
      { listeners: [{ address }], relay: [{ address }], credentials: { secrets: [SECRET] } },
    ),
    (server) => server.close(),
  );
  const { port } = relay.locals[0] ?? { port: 3_478 };
  const urls = [`turn:${address}:${port}?transport=udp`];
  const relays = [{ id: 'demo', urls, region: 'simulated', load: 0.1, healthy: true }];
  const plane = stack.use(await LocalControlPlane.start({ clock, random }, { turnSecret: SECRET, relays }));
  const world = { components, internet, plane, stack };
  const me = await join(world, 'this-machine', natKinds.portRestricted, async (node) => {
    return (await node.createParty({ name: 'demo', memberName: 'this-machine' })).id;
  });
  const others: { name: string; nat: NatOptions }[] = [
    { name: 'ben', nat: natKinds.portRestricted },
    { name: 'cabin', nat: natKinds.symmetricRandom },
  ];
  for (const { name, nat } of others) {
    const invite = await me.client.invite(me.party);
    const other = await join(world, name, nat, async (node) => (await node.join(invite, { memberName: name })).id);
    await other.manager.maintainParty(other.party);
  }
  await me.client.refresh(me.party);
  await me.manager.maintainParty(me.party);
  const all = stack.move();
  return {
    party: { id: me.party, name: 'demo', servers: { addresses: ['simulated'] } },
    mesh: {
      address: me.address,
      virtualNetwork: '10.66.0.0/16',
      manager: me.manager,
      node: { client: me.client },
      network: {
        interfaceName: 'simulated',
        backend: 'userspace',
        splice: undefined,
        filter: undefined,
        events: new Events<NetworkManagerEvents>(),
        notRouted: new Map(),
      },
      [Symbol.asyncDispose]: async () => {},
    },
    [Symbol.asyncDispose]: () => all[Symbol.asyncDispose](),
  };
}

interface World {
  readonly components: Components;
  readonly internet: SimulatedInternet;
  readonly plane: LocalControlPlane;
  readonly stack: AsyncDisposableStack;
}

async function join(
  { components: { clock, random, log }, internet, plane, stack }: World,
  name: string,
  nat: NatOptions,
  enter: (node: ControlClient) => Promise<string>,
): Promise<{ client: ControlClient; manager: ConnectionManager; party: string; address: string }> {
  const identity = generateNodeIdentity(random);
  const client = await plane.node({ identity });
  const party = await enter(client);
  const self = client.party(party)?.self;
  if (self === undefined) throw new TypeError('unreachable: the node has just entered the party');
  const { network } = internet.nat(nat).host({ name });
  const machine = stack.use(await SimulatedWireGuard.open({ network, clock, random }));
  const finder = await MeshPathFinder.open(
    { network, clock, random, control: client },
    // Many ports at once would connect the cabin directly after a while; the demo shows a relayed peer.
    { party, self: self.id, wireGuardKey: identity.wireGuard, portMapping: false, birthday: false },
  );
  const traversal = stack.use(new NATTraversal({ finder }));
  const manager = stack.use(
    new ConnectionManager({ components: { network, clock, random, log } }, machine, traversal, client),
  );
  return { client, manager, party, address: self.virtualAddress };
}
