import { formatInviteLink } from '@towpath/membership';
import { UsageError } from '../../cli/failure.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { serverUrl } from '../../cli/server-url.ts';
import { findParty, PartyNode } from './party-node.ts';
import { localTime } from './local-time.ts';
import { qrCode, type QrTerminal } from './qr-code.ts';
import { printJson } from '../../cli/json-output.ts';

interface InviteOptions extends CommonOptions {
  uses: number;
  hours: number;
  role: string;
  server?: string[];
  code: boolean;
  qr?: string;
}

/** Creates an invite and prints it as code, link and QR code. */
export async function invite(runtime: Runtime, name: string | undefined, options: InviteOptions): Promise<void> {
  const { io, signal } = runtime;
  const { uses: maxUses, hours, role, json } = options;
  if (role !== 'member' && role !== 'admin')
    throw new UsageError('--role must be member or admin. Next: towpath party invite --role admin');
  const terminal = qrTerminal(options.qr, io.interactive && !json);
  const servers = options.server?.map(serverUrl);
  const party = findParty(runtime, name);
  await using node = await PartyNode.open(runtime, party.servers, { party: party.id });
  await node.current(party);
  const validForMs = hours * 3_600_000;
  const issued = await node.client.invite(party.id, { role, maxUses, validForMs, signal });
  const given = servers === undefined ? issued : { ...issued, servers };
  const link = formatInviteLink(given);
  const code = options.code ? await node.client.shareInvite(party.id, given, { signal }) : undefined;
  const expiresAtMs = runtime.clock.wallTime() + validForMs;
  const expires = new Date(expiresAtMs).toISOString();
  if (given.servers.some(isLoopback)) {
    io.err(`The invite contains ${given.servers.join(', ')}, which other machines cannot reach. Next: add --server.`);
  }
  if (json) {
    const told = { party: { id: party.id, name: party.name }, code, link, role, maxUses, expires };
    printJson(io, 'invite', { ...told, servers: given.servers });
    return;
  }
  io.out(
    `Invite to ${party.name} as ${role}: ${maxUses === 1 ? 'one use' : `${maxUses} uses`}, until ${localTime(expiresAtMs)}`,
  );
  if (code !== undefined) io.out(`  code  ${code}`);
  io.out(`  link  ${link}`);
  for (const line of terminal === 'none' ? [] : qrCode(link, terminal)) io.out(line);
  if (code !== undefined)
    io.out(`On the other machine: towpath party join ${code} --server ${given.servers[0] ?? 'HOST'}`);
}

function qrTerminal(wanted: string | undefined, shown: boolean): QrTerminal | 'none' {
  if (wanted === undefined) return shown ? 'dark' : 'none';
  if (wanted !== 'dark' && wanted !== 'light' && wanted !== 'none')
    throw new UsageError('--qr must be dark, light or none.');
  return wanted;
}

function isLoopback(server: string): boolean {
  return /^(localhost|127\.|\[::1\])/.test(new URL(server).host);
}
