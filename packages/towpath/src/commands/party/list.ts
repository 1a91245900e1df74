import { errorCode, errorMessage, isAbort } from '@towpath/core';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { columns, counted } from '../../cli/table.ts';
import type { KnownParty } from '../../config/party-home.ts';
import { homeOf, MembershipError, namesakesOf, partyLabel, PartyNode } from './party-node.ts';
import { printJson } from '../../cli/json-output.ts';

/** Prints every party of this node: as verified now, or the last verified state when no server can be reached. */
export async function list(runtime: Runtime, { json }: CommonOptions): Promise<void> {
  const { io } = runtime;
  const parties = homeOf(runtime).parties();
  if (parties.length === 0 && !json) io.err('This node is in no party. Next: towpath party create NAME');
  const found = await Promise.all(parties.map((party) => look(runtime, party)));
  if (json) for (const each of found) printJson(io, 'party', each.told);
  else if (found.length > 0) {
    const rows = found.map(({ told }) => [
      namesakesOf(told, parties).length === 0 ? told.name : partyLabel(told),
      told.member?.role ?? '',
      told.member?.virtualAddress ?? '',
      told.members === undefined
        ? ''
        : `${counted(told.members, 'member')}, ${counted(told.online ?? 0, 'other', 'others')} online`,
      told.problem === undefined ? told.servers.join(', ') : told.problem.code,
    ]);
    for (const line of columns([['NAME', 'ROLE', 'ADDRESS', 'MEMBERS', 'SERVER'], ...rows])) io.out(line);
  }
  for (const { told } of found) {
    if (told.problem !== undefined) io.err(`${told.name}: ${told.problem.message}`);
  }
  const untrusted = found.find(({ error }) => error instanceof MembershipError);
  if (untrusted !== undefined) throw untrusted.error;
}

interface Told {
  type: 'party';
  id: string;
  name: string;
  servers: readonly string[];
  member?: { name: string; role: string; virtualAddress: string };
  members?: number;
  online?: number;
  /** The servers could not be reached, or verification failed. */
  problem?: { code: string; message: string };
}

async function look(runtime: Runtime, party: KnownParty): Promise<{ told: Told; error: unknown }> {
  const { id, name, servers } = party;
  const told: Told = { type: 'party', id, name, servers: servers.addresses };
  let error: unknown;
  await using node = await PartyNode.open(runtime, servers, { party: id });
  try {
    await node.current(party);
  } catch (caught) {
    if (isAbort(caught)) throw caught;
    error = caught;
    told.problem = { code: errorCode(caught), message: errorMessage(caught) };
  }
  const view = node.client.party(id);
  if (view !== undefined) {
    const { name: as, role, virtualAddress } = view.self;
    told.member = { name: as, role, virtualAddress };
    told.members = view.peers.length + 1;
    told.online = view.peers.filter((peer) => peer.online).length;
  }
  return { told, error };
}
