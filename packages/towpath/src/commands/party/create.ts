import { hostname } from 'node:os';
import type { Runtime } from '../../cli/runtime.ts';
import { homeOf, PartyNode, type ServerOptions, serversFor } from './party-node.ts';

/** Founds a party at the servers that are named or remembered. */
export async function create(runtime: Runtime, name: string, options: ServerOptions & { as?: string }): Promise<void> {
  const { io, signal } = runtime;
  const servers = serversFor(runtime, options);
  const home = homeOf(runtime);
  await using node = await PartyNode.open(runtime, servers);
  const { id, self } = await node.client.createParty({ name, memberName: options.as ?? hostname(), signal });
  home.rememberParty({ id, name, servers });
  home.rememberServers(servers);
  const keyFile = home.keyPath(id);
  if (options.json) {
    const { id: member, name: as, virtualAddress } = self;
    const told = { party: { id, name }, member: { id: member, name: as, virtualAddress }, keyFile };
    io.out(JSON.stringify({ type: 'created', ...told, servers: servers.addresses }));
    return;
  }
  io.out(`${name} is founded; this node is ${self.name}, ${self.virtualAddress}.`);
  io.out(`Its key is in ${keyFile}: keep a copy in a safe place, it appoints another founder if this machine is lost.`);
  io.out('Next: towpath party invite');
}
