import type { PartyView } from '@towpath/control';
import { errorCode, errorMessage } from '@towpath/core';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { counted } from '../../cli/table.ts';
import { memberRecords, memberTable } from './member-view.ts';
import { findParty, MembershipError, PartyNode } from './party-node.ts';
import { watchMembers } from './watch-members.ts';
import { printJson } from '../../cli/json-output.ts';

interface MembersOptions extends CommonOptions {
  watch?: boolean;
  /** Seconds. */
  for?: number;
}

/** Prints the members of a party; the last verified list when no server can be reached or verification failed. */
export async function members(runtime: Runtime, name: string | undefined, options: MembersOptions): Promise<void> {
  const party = findParty(runtime, name);
  if (options.watch) {
    await watchMembers(runtime, party, options);
    return;
  }
  await using node = await PartyNode.open(runtime, party.servers, { party: party.id });
  let problem: unknown;
  let view: PartyView | undefined;
  try {
    view = await node.current(party);
  } catch (error) {
    const doubtful = error instanceof MembershipError;
    if (!doubtful && errorCode(error) !== 'server-unavailable') throw error;
    problem = error;
    view = node.client.party(party.id);
  }
  if (view !== undefined) show(runtime, view, options, problem === undefined);
  if (problem instanceof MembershipError) throw problem;
  if (problem !== undefined) runtime.io.err(`This is the last verified list. ${errorMessage(problem)}`);
}

/** @param fresh false for the last verified list */
function show({ io }: Runtime, view: PartyView, { json }: CommonOptions, fresh: boolean): void {
  const all = memberRecords(view, false);
  const { id, name, head } = view;
  if (json) {
    printJson(io, 'members', { party: { id, name }, fresh, statements: head.sequence + 1, members: all });
    return;
  }
  io.out(`${name}: ${counted(all.length, 'member')}`);
  for (const line of memberTable(all)) io.out(line);
}
