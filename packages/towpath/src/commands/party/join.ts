import { hostname } from 'node:os';
import { ControlError, type PartyView } from '@towpath/control';
import { type Invite, isInviteCode, openInviteCode, PartyDataError, parseInviteLink } from '@towpath/membership';
import { hostNames } from '@towpath/mesh';
import { errorMessage } from '@towpath/core';
import { UsageError } from '../../cli/failure.ts';
import type { Runtime } from '../../cli/runtime.ts';
import { counted } from '../../cli/table.ts';
import { readSecretInput } from '../../cli/secret-input.ts';
import type { KnownParty, Servers } from '../../config/party-home.ts';
import { dataPlaneHint } from './data-plane-hint.ts';
import { homeOf, PartyNode, type ServerOptions, serversFor, warnOfSameName } from './party-node.ts';
import { printJson } from '../../cli/json-output.ts';
import { loadConfig } from '../../daemon/config/config-file.ts';
import type { PartyFile } from '../../daemon/config/schema.ts';
import { startsId } from './starts-id.ts';

/** Joins a party with an invite, given as a code or as a link. */
export async function join(
  runtime: Runtime,
  given: string | undefined,
  options: ServerOptions & { as?: string; hasUp: boolean },
): Promise<void> {
  const text = given === undefined || given === '-' ? await readSecretInput(runtime, 'Invite code or link') : given;
  const { io, signal } = runtime;
  const home = homeOf(runtime);
  const link = isInviteCode(text) ? undefined : linkOf(text);
  const lookup = link === undefined ? (await openInviteCode(text)).lookup : undefined;
  const known = home.parties().find(({ joinedWith }) => joinedWith !== undefined && joinedWith === lookup);
  if (known !== undefined) {
    await tellMember(runtime, known, options);
    return;
  }
  const servers = serversFor(runtime, options, link?.servers);
  await using node = await PartyNode.open(runtime, servers);
  const invite = link ?? (await openCode(node, text, signal));
  const view = await node.client.join(invite, { memberName: options.as ?? hostname(), signal });
  const { id, name, self, peers } = view;
  home.rememberParty({ id, name, servers, joinedWith: lookup });
  rememberServers(runtime, servers);
  warnOfNamesake(runtime, view);
  warnOfSameName(runtime, view);
  if (options.json) {
    printJoined(runtime, view, servers);
    return;
  }
  io.out(`Joined ${name} as ${self.name} (${self.role}), ${self.virtualAddress}.`);
  io.out(`${counted(peers.length + 1, 'member')}; see towpath party members`);
  io.out(await dataPlaneHint(runtime, options.hasUp));
}

/** Says that this node is in the party already whose invite it has used. @throws ControlError as {@link PartyNode.current}. */
async function tellMember(runtime: Runtime, party: KnownParty, { json }: ServerOptions): Promise<void> {
  await using node = await PartyNode.open(runtime, party.servers, { party: party.id });
  const view = await node.current(party);
  if (json) printJoined(runtime, view, party.servers);
  else runtime.io.out(`This node is already a member of ${view.name}, as ${view.self.name}.`);
}

function printJoined(runtime: Runtime, { id, name, self, peers }: PartyView, { addresses }: Servers): void {
  const { id: member, name: as, role, virtualAddress } = self;
  const told = { party: { id, name }, member: { id: member, name: as, role, virtualAddress } };
  const at = new Date(runtime.clock.wallTime()).toISOString();
  printJson(runtime.io, 'joined', { at, ...told, members: peers.length + 1, servers: addresses });
}

/** A member that joined earlier under the same name keeps the host name of it. */
function warnOfNamesake(runtime: Runtime, { id, name: party, self, peers }: PartyView): void {
  const domain = configuredDomain(runtime, { id, name: party });
  const reached = hostNames(party, [self, ...peers], domain).get(self.id);
  if (reached === undefined || reached === hostNames(party, [self], domain).get(self.id)) return;
  runtime.io.err(
    `Another member is called ${self.name} too: this node is reached as ${reached}. Next, for a name of its own: towpath party leave, then join with a new invite and --as NAME`,
  );
}

/** Domain of the names of a party; undefined where the configuration names none, or cannot be read. */
function configuredDomain(runtime: Runtime, { id, name }: { id: string; name: string }): string | undefined {
  try {
    const { parties } = loadConfig(runtime);
    const files = Array.isArray(parties) ? (parties as readonly PartyFile[]) : [];
    const isMeant = ({ party }: PartyFile) => party.toLowerCase() === name.toLowerCase() || startsId(id, party);
    return files.find(isMeant)?.domain;
  } catch {
    // The node has joined already; towpath up says what is wrong.
    return undefined;
  }
}

/** @throws UsageError for a text that is neither a code nor a link. */
function linkOf(text: string): Invite {
  try {
    return parseInviteLink(text);
  } catch (cause) {
    if (!(cause instanceof PartyDataError)) throw cause;
    const form = /^towpath:/i.test(text.trim()) ? cause.message : INVITE_FORMS;
    throw new UsageError(form);
  }
}

const INVITE_FORMS =
  'This is neither an invite code (four groups of four letters and digits) nor a link (towpath://join/…). Next: copy it again.';

/** @throws ControlError `untrusted-log` when the invite that the server returned was not sealed with this code. */
async function openCode(node: PartyNode, code: string, signal: AbortSignal): Promise<Invite> {
  try {
    return await node.client.openInvite(code, { signal });
  } catch (cause) {
    // The form of the code was checked before; so the data of the server is wrong.
    if (cause instanceof PartyDataError && cause.code === 'invalid-invite')
      throw new ControlError('untrusted-log', errorMessage(cause), { cause });
    throw cause;
  }
}

function rememberServers(runtime: Runtime, servers: Servers): void {
  const home = homeOf(runtime);
  if (home.servers === undefined) home.rememberServers(servers);
}
