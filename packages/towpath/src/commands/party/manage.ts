import { existsSync } from 'node:fs';
import { TowpathError } from '@towpath/core';
import { UsageError } from '../../cli/failure.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import type { KnownParty } from '../../config/party-home.ts';
import { heldPartyHint } from './data-plane-hint.ts';
import { findMember } from './member-view.ts';
import { findParty, homeOf, PartyNode, type ServerOptions, serversFor } from './party-node.ts';
import { jsonLine } from '../../cli/json-output.ts';

interface MemberOptions extends CommonOptions {
  party?: string;
}

/** Removes a member. */
export async function remove(runtime: Runtime, wanted: string, options: MemberOptions): Promise<void> {
  const party = findParty(runtime, options.party);
  await using node = await PartyNode.open(runtime, party.servers, { party: party.id });
  const { id, name } = findMember(await node.current(party), wanted);
  await node.client.remove(party.id, id, { signal: runtime.signal });
  tell(runtime, options, party, { type: 'removed', member: { id, name } }, `${name} was removed from ${party.name}.`);
}

/** Gives a member another role; `founder` needs the party's key. */
export async function role(runtime: Runtime, wanted: string, next: string, options: MemberOptions): Promise<void> {
  if (next !== 'member' && next !== 'admin' && next !== 'founder') {
    throw new UsageError('The role must be member, admin or founder. Next: towpath party role NAME admin');
  }
  const party = findParty(runtime, options.party);
  const { signal } = runtime;
  await using node = await PartyNode.open(runtime, party.servers, { party: party.id });
  const { id, name } = findMember(await node.current(party), wanted);
  if (next === 'founder') await node.client.appoint(party.id, id, { signal });
  else await node.client.setRole(party.id, id, next, { signal });
  const text = `${name} is now ${next === 'founder' ? 'the founder' : next} of ${party.name}.`;
  tell(runtime, options, party, { type: 'role', member: { id, name, role: next } }, text);
}

/** Takes this node out of a party; with `forget` on this machine only. */
export async function leave(
  runtime: Runtime,
  name: string | undefined,
  options: CommonOptions & { forget?: boolean },
): Promise<void> {
  const party = findParty(runtime, name);
  if (options.forget) {
    await forget(runtime, party, options);
    return;
  }
  await using node = await PartyNode.open(runtime, party.servers, { party: party.id });
  const { self, peers } = await node.current(party);
  if (self.role === 'founder' && peers.length === 0) {
    throw new TowpathError(
      'forbidden',
      `${party.name} has no member who could be its founder instead. Next, to remove it from this machine: towpath party leave ${party.id.slice(0, 8)} --forget`,
      { kind: 'refused' },
    );
  }
  await node.client.leave(party.id, { signal: runtime.signal });
  tell(runtime, options, party, { type: 'left' }, `This node has left ${party.name}.`);
  const hint = options.json ? undefined : await heldPartyHint(runtime, party.id);
  if (hint !== undefined) runtime.io.out(hint);
}

/** Removes a party from this machine without a word to its servers, which may be gone. Its key stays. */
async function forget(runtime: Runtime, party: KnownParty, options: CommonOptions): Promise<void> {
  const home = homeOf(runtime);
  const held = await heldPartyHint(runtime, party.id);
  if (held !== undefined) throw new TowpathError('already-running', held, { kind: 'local' });
  await home.storage([party.id]).remove(party.id);
  const key = home.keyPath(party.id);
  tell(runtime, options, party, { type: 'left' }, `${party.name} is forgotten on this machine.`);
  if (options.json) return;
  runtime.io.out('Servers and other members still list this node; whoever may remove members can remove it.');
  if (existsSync(key)) runtime.io.out(`The party key stays in ${key}; with it: towpath party recover`);
}

/** Shows or changes the control servers of a party; new ones are contacted before they are saved. */
export async function servers(runtime: Runtime, name: string | undefined, options: ServerOptions): Promise<void> {
  const known = findParty(runtime, name);
  const changed = options.server !== undefined || options.ca !== undefined;
  const party = changed ? { ...known, servers: serversFor(runtime, options, known.servers.addresses) } : known;
  if (changed) {
    await using node = await PartyNode.open(runtime, party.servers, { party: party.id });
    await node.current(party);
    homeOf(runtime).rememberParty(party);
  }
  const { addresses } = party.servers;
  tell(runtime, options, party, { type: 'servers', servers: addresses }, `${party.name}: ${addresses.join(', ')}`);
}

function tell(
  { io }: Runtime,
  { json }: CommonOptions,
  { id, name }: KnownParty,
  { type, ...told }: Readonly<Record<string, unknown>> & { type: string },
  text: string,
): void {
  io.out(json ? jsonLine(type, { ...told, party: { id, name } }) : text);
}
