import { TowpathError } from '@towpath/core';
import type { Camera, DaemonStatus, PeerDetail } from '@towpath/dashboard/api';
import { routePath } from '@towpath/dashboard/routes';
import { UsageError } from '../../cli/failure.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { askDaemon } from '../../daemon/api/api-client.ts';
import { askStatus } from '../../daemon/api/ask-status.ts';
import { startsId } from '../party/starts-id.ts';

type PartyStatus = DaemonStatus['parties'][number];

/** Options of the commands that name a member. */
export interface MemberOptions extends CommonOptions {
  /** Where several parties have such a member. */
  party?: string;
}

/** A member or a camera that the daemon holds. */
export type Target =
  | { readonly camera: Camera; readonly party?: undefined }
  | { readonly camera?: undefined; readonly party: string };

/** What the daemon holds. @throws UsageError when no party matches `wanted`. */
export async function heldParties(runtime: Runtime, wanted: string | undefined): Promise<DaemonStatus> {
  const status = await askStatus(runtime);
  if (wanted === undefined) return status;
  const parties = status.parties.filter(
    ({ id, name }) => name.toLowerCase() === wanted.toLowerCase() || startsId(id, wanted),
  );
  if (parties.length > 0) return { ...status, parties };
  throw new UsageError(`No party ${wanted} is held. Parties: ${list(status.parties)}.`);
}

/** The party of a member, whatever was given of it. @throws UsageError. */
export async function findMemberParty(runtime: Runtime, member: string, { party }: MemberOptions): Promise<string> {
  const { parties, cameras } = await heldParties(runtime, party);
  const found = partyOf(parties, member);
  if (found !== undefined) return found;
  const camera = cameras.find(({ name }) => name.toLowerCase() === member.toLowerCase());
  if (camera !== undefined) return fail(`${member} is a camera, not a member. Next: towpath why ${camera.name}`);
  return fail(`No member ${member}. Members: ${members(parties)}.${notUp(parties)}`);
}

/** Everything about a member. */
export async function peerDetail(runtime: Runtime, member: string, options: MemberOptions): Promise<PeerDetail> {
  return detailIn(runtime, await findMemberParty(runtime, member, options), member);
}

/** Everything about a member of the party with this id. */
export function detailIn(runtime: Runtime, party: string, member: string): Promise<PeerDetail> {
  return askDaemon<PeerDetail>(runtime, 'GET', routePath('peer', { party, peer: member }));
}

/** The member or camera of this name; with a party, a member. @throws UsageError. */
export async function findTarget(runtime: Runtime, wanted: string, options: MemberOptions): Promise<Target> {
  const { parties, cameras } = await heldParties(runtime, options.party);
  const camera =
    options.party === undefined ? cameras.find(({ name }) => name.toLowerCase() === wanted.toLowerCase()) : undefined;
  const party = partyOf(parties, wanted);
  if (camera !== undefined && party !== undefined) {
    const { name } = parties.find(({ id }) => id === party) ?? { name: 'PARTY' };
    throw new UsageError(
      `There are a camera ${wanted} and a member ${wanted}. Next: --party ${name} for the member; rename the camera to name it.`,
    );
  }
  if (camera !== undefined) return { camera };
  if (party !== undefined) return { party };
  return fail(
    `No member or camera ${wanted}. Members: ${members(parties)}. Cameras: ${list(cameras)}.${notUp(parties)}`,
  );
}

function partyOf(parties: readonly PartyStatus[], member: string): string | undefined {
  const meant = parties.filter(({ peers }) =>
    peers.some(
      ({ id, name, address }) =>
        name.toLowerCase() === member.toLowerCase() || address === member || startsId(id, member),
    ),
  );
  if (meant.length > 1) {
    throw new TowpathError(
      'conflict',
      `Several parties have a member ${member}: ${list(meant)}. Next: name one with --party.`,
      { kind: 'usage' },
    );
  }
  return meant[0]?.id;
}

function members(parties: readonly PartyStatus[]): string {
  return list(parties.flatMap(({ peers }) => peers));
}

/** The members of these parties are not known now. */
function notUp(parties: readonly PartyStatus[]): string {
  const down = parties.filter(({ state }) => state !== 'up');
  return down.length === 0 ? '' : ` Not up: ${list(down)}. Next: towpath status`;
}

function list(named: readonly { name: string }[]): string {
  return named.map(({ name }) => name).join(', ') || 'none';
}

function fail(message: string): never {
  throw new UsageError(message);
}
