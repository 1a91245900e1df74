import type { Command } from 'commander';
import { UsageError } from '../../cli/failure.ts';
import type { Runtime } from '../../cli/runtime.ts';
import { displayName, integer, number } from '../../cli/values.ts';

const PARTY = 'name, or first characters of the id; optional when this node is in one party only';

/** `towpath party …` */
export function registerParty(program: Command, runtime: Runtime): void {
  const party = program.command('party').description('private networks: create, invite, join, list and remove members');
  create(party, runtime);
  invite(party, runtime);
  invites(party, runtime);
  revoke(party, runtime);
  join(party, runtime);
  members(party, runtime);
  list(party, runtime);
  remove(party, runtime);
  role(party, runtime);
  leave(party, runtime);
  rotate(party, runtime);
  servers(party, runtime);
  recover(party, runtime);
}

function hasUp(party: Command): boolean {
  return party.parent?.commands.some((command) => command.name() === 'up') ?? false;
}

function withCommon(command: Command): Command {
  return command
    .option('-v, --verbose', 'log details to standard error')
    .option('--json', 'JSON Lines on standard output');
}

/** The party as an argument, and as the option that commands with another argument have. */
function withParty(command: Command): Command {
  return command
    .argument('[party]', PARTY)
    .option('--party <party>', 'the same as an option, as other commands take it');
}

/** @throws UsageError when argument and option name two parties */
function partyOf(argument: string | undefined, { party }: { party?: string }): string | undefined {
  if (argument !== undefined && party !== undefined && argument !== party) {
    throw new UsageError(`Two parties were given: ${argument} and ${party}. Next: name one.`);
  }
  return argument ?? party;
}

function withServer(command: Command): Command {
  return command
    .option('--server <server...>', 'control servers, as HOST, HOST:PORT or https://HOST; saved for later commands')
    .option('--ca <file>', 'PEM file of the certificate authority of these servers, if the system does not trust it');
}

function create(party: Command, runtime: Runtime): void {
  withCommon(withServer(party.command('create')))
    .description('create a party; this node becomes its founder')
    .argument('<name>', 'name of the party', displayName)
    .option(
      '--setup-code <code>',
      'code that the server printed; - reads it from standard input; asked for on a terminal',
    )
    .option('--as <name>', 'name of this node in the party (default: the host name)', displayName)
    .addHelpText(
      'after',
      `
Examples:
  towpath party create camp --server 198.51.100.7
  towpath party create camp --server https://towpath.example.org:4100 \\
      --as "Ann’s laptop"
`,
    )
    .action(async (name, options) =>
      (await import('./create.ts')).create(runtime, name, { ...options, hasUp: hasUp(party) }),
    );
}

function invite(party: Command, runtime: Runtime): void {
  withParty(withCommon(party.command('invite')))
    .description('create an invite: prints a code, a link, and on a terminal a QR code')
    .option('--uses <count>', 'how many nodes can join with it', integer(1, 10_000), 1)
    .option('--hours <hours>', 'how long it is valid, h', number(0.01, 8_760), 24)
    .option('--role <role>', 'role of the nodes that join: member or admin', 'member')
    .option('--server <server...>', 'control servers for the nodes that join (default: the servers of this node)')
    .option('--no-code', 'print the link only and store nothing on the servers')
    .option('--qr <terminal>', 'QR code for a dark or light terminal, or none')
    .addHelpText(
      'after',
      `
Everyone who has the invite can join. Treat it as a password.

Examples:
  towpath party invite
  towpath party invite camp --uses 5 --hours 2
  towpath party invite camp --role admin --json
`,
    )
    .action(async (name, options) => (await import('./invite.ts')).invite(runtime, partyOf(name, options), options));
}

function invites(party: Command, runtime: Runtime): void {
  withParty(withCommon(party.command('invites')))
    .description('list the invites of a party, and whether they still open it')
    .addHelpText('after', '\nExamples:\n  towpath party invites\n  towpath party invites camp --json\n')
    .action(async (name, options) => (await import('./invites.ts')).invites(runtime, partyOf(name, options), options));
}

function revoke(party: Command, runtime: Runtime): void {
  withCommon(party.command('revoke'))
    .description('revoke an invite: nobody can join with it any more (founder and admins)')
    .argument('<invite>', 'first characters of its id, as towpath party invites prints it')
    .option('--party <party>', PARTY)
    .addHelpText('after', '\nExample:\n  towpath party revoke Zk3v\n')
    .action(async (id, options) => (await import('./invites.ts')).revoke(runtime, id, options));
}

function recover(party: Command, runtime: Runtime): void {
  withCommon(withServer(party.command('recover')))
    .description("become the founder again with the party's key, for instance after all members were removed")
    .argument('<key-file>', 'the key file that towpath party create named')
    .option('--as <name>', 'name of this node in the party (default: the host name)', displayName)
    .addHelpText('after', '\nExample:\n  towpath party recover backup/camp.key --server 198.51.100.7\n')
    .action(async (file, options) => (await import('./recover.ts')).recover(runtime, file, options));
}

function join(party: Command, runtime: Runtime): void {
  withCommon(withServer(party.command('join')))
    .description('join a party with an invite')
    .argument('[invite]', 'the code or the link; without it, or as -, it is asked for or read from standard input')
    .option('--as <name>', 'name of this node in the party (default: the host name)', displayName)
    .addHelpText(
      'after',
      `
A link contains the servers. With a code, name them by --server. Without a terminal, give the code or link as standard
input.

Examples:
  towpath party join K7QP-2MXA-9RTC-W3HE --server 198.51.100.7
  towpath party join towpath://join/AYd3… --as Ben
  towpath party join --server 198.51.100.7 < invite.txt
`,
    )
    .action(async (text, options) =>
      (await import('./join.ts')).join(runtime, text, { ...options, hasUp: hasUp(party) }),
    );
}

function members(party: Command, runtime: Runtime): void {
  withParty(withCommon(party.command('members')))
    .description('list the members of a party, verified by this node, and who is connected')
    .option('-w, --watch', 'stay connected and print changes')
    .option('--for <seconds>', 'with --watch: end after this time, in seconds', number(0.1, 31_536_000))
    .addHelpText(
      'after',
      `
When no server can be reached, the last verified list is shown.

Examples:
  towpath party members
  towpath party members camp --watch
  towpath party members camp --watch --json
`,
    )
    .action(async (name, options) => (await import('./members.ts')).members(runtime, partyOf(name, options), options));
}

function list(party: Command, runtime: Runtime): void {
  withCommon(party.command('list'))
    .description('list the parties of this node')
    .addHelpText('after', '\nExamples:\n  towpath party list\n  towpath party list --json\n')
    .action(async (options) => (await import('./list.ts')).list(runtime, options));
}

function remove(party: Command, runtime: Runtime): void {
  withCommon(party.command('remove'))
    .description('remove a member (founder and admins only)')
    .argument('<member>', 'name, virtual address, or first characters of the id')
    .option('--party <party>', PARTY)
    .addHelpText(
      'after',
      `
A removed member can join again only with a new invite. Invites that it created become invalid.

Examples:
  towpath party remove Ben
  towpath party remove 10.66.12.7 --party camp
`,
    )
    .action(async (member, options) => (await import('./manage.ts')).remove(runtime, member, options));
}

function role(party: Command, runtime: Runtime): void {
  withCommon(party.command('role'))
    .description('change the role of a member')
    .argument('<member>', 'name, virtual address, or first characters of the id')
    .argument('<role>', 'member, admin or founder; appointing a founder needs the party key on this machine')
    .option('--party <party>', PARTY)
    .addHelpText(
      'after',
      '\nExamples:\n  towpath party role Ben admin\n  towpath party role Ben founder --party camp\n',
    )
    .action(async (member, wanted, options) => (await import('./manage.ts')).role(runtime, member, wanted, options));
}

function leave(party: Command, runtime: Runtime): void {
  withParty(withCommon(party.command('leave')))
    .description('leave a party; a founder must appoint another founder first')
    .option('--forget', 'remove the party from this machine only, without asking its servers; the party key stays')
    .addHelpText('after', '\nExamples:\n  towpath party leave camp\n  towpath party leave camp --forget\n')
    .action(async (name, options) => (await import('./manage.ts')).leave(runtime, partyOf(name, options), options));
}

function rotate(party: Command, runtime: Runtime): void {
  withCommon(party.command('rotate'))
    .description('replace the keys of this node in all its parties; id and addresses stay the same')
    .addHelpText(
      'after',
      `
When a server cannot be reached, run the command again later; it continues with the same new keys.

Example:
  towpath party rotate
`,
    )
    .action(async (options) => (await import('./rotate.ts')).rotate(runtime, options));
}

function servers(party: Command, runtime: Runtime): void {
  withParty(withCommon(withServer(party.command('servers'))))
    .description('show the control servers of a party, or change them with --server')
    .addHelpText(
      'after',
      '\nExamples:\n  towpath party servers\n  towpath party servers camp --server https://towpath.example.org:4100\n',
    )
    .action(async (name, options) => (await import('./manage.ts')).servers(runtime, partyOf(name, options), options));
}
