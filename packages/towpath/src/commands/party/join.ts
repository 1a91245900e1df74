import { hostname } from 'node:os';
import { ControlError } from '@towpath/control';
import { type Invite, isInviteCode, PartyDataError, parseInviteLink } from '@towpath/membership';
import { errorMessage } from '@towpath/core';
import { UsageError } from '../../cli/failure.ts';
import type { Runtime } from '../../cli/runtime.ts';
import { counted } from '../../cli/table.ts';
import { readSecretInput } from '../../cli/secret-input.ts';
import type { Servers } from '../../config/party-home.ts';
import { dataPlaneHint } from './data-plane-hint.ts';
import { homeOf, PartyNode, type ServerOptions, serversFor } from './party-node.ts';
import { printJson } from '../../cli/json-output.ts';

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
    printJson(io, 'joined', { at, ...told, members: peers.length + 1, servers: servers.addresses });
    return;
  }
  io.out(`Joined ${name} as ${self.name} (${self.role}), ${self.virtualAddress}.`);
  io.out(`${counted(peers.length + 1, 'member')}; see towpath party members`);
  io.out(await dataPlaneHint(runtime, options.hasUp));
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
