import { hostname } from 'node:os';
import { ControlError, type Invite, isInviteCode, parseInviteLink } from '@towpath/control';
import { errorCode, errorMessage } from '@towpath/core';
import type { Runtime } from '../../cli/runtime.ts';
import type { Servers } from '../../config/party-home.ts';
import { homeOf, PartyNode, type ServerOptions, serversFor } from './party-node.ts';

/** Joins the party of an invite, given as a code or as a link. */
export async function join(runtime: Runtime, text: string, options: ServerOptions & { as?: string }): Promise<void> {
  const { io, signal } = runtime;
  const home = homeOf(runtime);
  const link = isInviteCode(text) ? undefined : parseInviteLink(text);
  const servers = serversFor(runtime, options, link?.servers);
  await using node = await PartyNode.open(runtime, servers);
  const invite = link ?? (await openCode(node, text, signal));
  const { id, name, self, peers } = await node.client.join(invite, { memberName: options.as ?? hostname(), signal });
  home.rememberParty({ id, name, servers });
  rememberServers(runtime, servers);
  if (options.json) {
    const { id: member, name: as, role, virtualAddress } = self;
    const told = { party: { id, name }, member: { id: member, name: as, role, virtualAddress } };
    const at = new Date(runtime.clock.wallTime()).toISOString();
    io.out(JSON.stringify({ type: 'joined', at, ...told, members: peers.length + 1, servers: servers.addresses }));
    return;
  }
  io.out(`Joined ${name} as ${self.name} (${self.role}), ${self.virtualAddress}.`);
  io.out(`${peers.length + 1} members; see towpath party members`);
}

/** @throws ControlError `untrusted-log` when the servers have exchanged what is behind the code. */
async function openCode(node: PartyNode, code: string, signal: AbortSignal): Promise<Invite> {
  try {
    return await node.client.openInvite(code, { signal });
  } catch (cause) {
    // The form of the code was checked before: what came from the server does not fit it.
    if (errorCode(cause) === 'invalid-invite') throw new ControlError('untrusted-log', errorMessage(cause), { cause });
    throw cause;
  }
}

function rememberServers(runtime: Runtime, servers: Servers): void {
  const home = homeOf(runtime);
  if (home.servers === undefined) home.rememberServers(servers);
}
