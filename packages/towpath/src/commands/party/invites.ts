import { type InviteRecord, inviteProblem, toBase64 } from '@towpath/membership';
import type { PartyView } from '@towpath/control';
import type { Invite } from '@towpath/dashboard/api';
import { UsageError } from '../../cli/failure.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { columns } from '../../cli/table.ts';
import { localTime } from './local-time.ts';
import { findParty, PartyNode } from './party-node.ts';
import { jsonLine, printJson } from '../../cli/json-output.ts';

/** Prints the invites of a party that were not revoked. */
export async function invites(runtime: Runtime, name: string | undefined, options: CommonOptions): Promise<void> {
  const { io, clock } = runtime;
  const party = findParty(runtime, name);
  await using node = await PartyNode.open(runtime, party.servers, { party: party.id });
  const view = await node.current(party);
  const records = view.invites.map((invite) => inviteRecord(view, invite, clock.wallTime()));
  if (options.json) {
    printJson(io, 'invites', { party: { id: party.id, name: party.name }, invites: records });
    return;
  }
  if (records.length === 0) {
    io.out(`${party.name} has no invites. Next: towpath party invite`);
    return;
  }
  const rows = records.map(({ id, role, issuer, uses, maxUses, expires, state }) => [
    id.slice(0, 8),
    state,
    role,
    `${uses} of ${maxUses}`,
    localTime(Date.parse(expires)),
    issuer,
  ]);
  for (const line of columns([['ID', 'STATE', 'ROLE', 'USED', 'EXPIRES', 'ISSUED BY'], ...rows])) io.out(line);
}

/** Revokes an invite. */
export async function revoke(
  runtime: Runtime,
  wanted: string,
  options: CommonOptions & { party?: string },
): Promise<void> {
  const { io, signal } = runtime;
  const party = findParty(runtime, options.party);
  await using node = await PartyNode.open(runtime, party.servers, { party: party.id });
  const view = await node.current(party);
  const [invite, ...others] = view.invites.filter(({ inviteKey }) => toBase64(inviteKey).startsWith(wanted));
  if (invite === undefined || wanted === '') {
    throw new UsageError(`${party.name} has no invite ${wanted}. Next: see towpath party invites.`);
  }
  if (others.length > 0)
    throw new UsageError(`${others.length + 1} invites begin with ${wanted}. Next: give more characters.`);
  await node.client.revokeInvite(party.id, invite.inviteKey, { signal });
  const id = toBase64(invite.inviteKey);
  const told = { invite: id, party: { id: party.id, name: party.name } };
  io.out(options.json ? jsonLine('revoked', told) : `Invite ${id.slice(0, 8)} of ${party.name} was revoked.`);
}

const STATES = { 'unknown-invite': 'revoked', 'invite-expired': 'expired', 'invite-used-up': 'used up' } as const;

/** An invite as JSON output and the daemon's API have it. */
export function inviteRecord(view: PartyView, invite: InviteRecord, nowMs: number): Invite {
  const { inviteKey, role, uses, maxUses, expiresAtMs } = invite;
  const problem = inviteProblem({ invite: () => invite }, inviteKey, nowMs);
  const issuer = [view.self, ...view.peers].find(({ id }) => id === invite.issuer)?.name ?? invite.issuer;
  const expires = new Date(expiresAtMs).toISOString();
  const state = problem === undefined ? 'open' : STATES[problem.reason];
  return { id: toBase64(inviteKey), state, role, issuer, uses, maxUses, expires };
}
