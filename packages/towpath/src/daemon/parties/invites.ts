import { errorCode, TowpathError } from '@towpath/core';
import type { Invite, IssuedInvite, NewInvite } from '@towpath/dashboard/api';
import { formatInviteLink, toBase64 } from '@towpath/membership';
import type { Runtime } from '../../cli/runtime.ts';
import { inviteRecord } from '../../commands/party/invites.ts';
import { type PartyRunner, requireNode } from './party-runner.ts';

const DEFAULT_HOURS = 24;

function viewOf(runner: PartyRunner) {
  const { client } = requireNode(runner).node;
  const view = client.party(runner.party.id);
  if (view !== undefined) return { client, view };
  throw new TowpathError('not-a-member', `This node is not in ${runner.party.name} any more.`, { kind: 'refused' });
}

/** The invites of a party that were not revoked. @throws TowpathError `party-down`. */
export function listInvites({ clock }: Pick<Runtime, 'clock'>, runner: PartyRunner): Invite[] {
  const { view } = viewOf(runner);
  return view.invites.map((invite) => inviteRecord(view, invite, clock.wallTime()));
}

/** Issues an invite. @throws ControlError as `ControlClient.invite`; TowpathError `party-down`. */
export async function issueInvite(
  { clock, signal, log }: Pick<Runtime, 'clock' | 'signal' | 'log'>,
  runner: PartyRunner,
  { uses = 1, hours = DEFAULT_HOURS, role = 'member' }: NewInvite,
): Promise<IssuedInvite> {
  const { client } = viewOf(runner);
  const before = new Set(viewOf(runner).view.invites.map(({ inviteKey }) => toBase64(inviteKey)));
  const { id } = runner.party;
  const issued = await client.invite(id, { role, maxUses: uses, validForMs: hours * 3_600_000, signal });
  let code: string | null = null;
  try {
    code = await client.shareInvite(id, issued, { signal });
  } catch (error) {
    // The link works without a server that keeps a code.
    log.info('The server keeps no short code for the invite', { code: errorCode(error) });
  }
  const { view } = viewOf(runner);
  const record = view.invites.find(({ inviteKey }) => !before.has(toBase64(inviteKey)));
  if (record === undefined) throw new TowpathError('internal', 'The invite was issued and is not in the list.');
  const link = formatInviteLink(issued);
  const server = issued.servers[0] ?? 'HOST';
  return {
    invite: inviteRecord(view, record, clock.wallTime()),
    code,
    link,
    command: code === null ? `towpath party join '${link}'` : `towpath party join ${code} --server ${server}`,
  };
}

/** @throws TowpathError `not-found`, `party-down`; ControlError as `ControlClient.revokeInvite`. */
export async function revokeInviteOf(runner: PartyRunner, wanted: string): Promise<void> {
  const { client, view } = viewOf(runner);
  const invite = view.invites.find(({ inviteKey }) => toBase64(inviteKey) === wanted);
  if (invite === undefined) {
    throw new TowpathError('not-found', `${runner.party.name} has no invite ${wanted}.`, { kind: 'refused' });
  }
  await client.revokeInvite(runner.party.id, invite.inviteKey);
}
