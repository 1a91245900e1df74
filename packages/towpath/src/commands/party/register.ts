import type { Command } from 'commander';
import type { Runtime } from '../../cli/runtime.ts';
import { integer, number } from '../../cli/values.ts';

const PARTY = 'its name or how its id begins; not needed when there is only one';

/** `towpath party …` */
export function registerParty(program: Command, runtime: Runtime): void {
  const party = program.command('party').description('private networks: who is in them, and how one gets in');
  create(party, runtime);
  invite(party, runtime);
  join(party, runtime);
  members(party, runtime);
  list(party, runtime);
  remove(party, runtime);
  role(party, runtime);
  leave(party, runtime);
  rotate(party, runtime);
  servers(party, runtime);
}

function withCommon(command: Command): Command {
  return command
    .option('-v, --verbose', 'tell the story on standard error')
    .option('--json', 'one JSON object on standard output');
}

function withServer(command: Command): Command {
  return command
    .option('--server <server...>', 'control servers, as HOST, HOST:PORT or https://HOST; remembered')
    .option('--ca <file>', 'PEM of the authority that signed their certificates, if the system does not know it');
}

function create(party: Command, runtime: Runtime): void {
  withCommon(withServer(party.command('create')))
    .description('found a party; this node is its founder')
    .argument('<name>', 'what the party is called')
    .option('--as <name>', 'what this node is called in it; the host name unless said otherwise')
    .addHelpText(
      'after',
      `
Examples:
  towpath party create camp --server 198.51.100.7
  towpath party create camp --server https://towpath.example.org --as "Ann’s laptop"
`,
    )
    .action(async (name, options) => (await import('./create.ts')).create(runtime, name, options));
}

function invite(party: Command, runtime: Runtime): void {
  withCommon(party.command('invite'))
    .description('let others in: prints a code to type, a link, and on a terminal a QR code')
    .argument('[party]', PARTY)
    .option('--uses <count>', 'how many may use it', integer(1, 10_000), 1)
    .option('--hours <hours>', 'how long it can be used', number(0.01, 8_760), 24)
    .option('--role <role>', 'what they become: member or admin', 'member')
    .option('--server <server...>', 'where joiners find the control plane, if not where this node does')
    .option('--no-code', 'only the link: nothing is left with the servers')
    .option('--qr <terminal>', 'QR code for a dark or a light terminal, or none')
    .addHelpText(
      'after',
      `
Whoever has the invite can use it: hand it over like a password.

Examples:
  towpath party invite
  towpath party invite camp --uses 5 --hours 2
  towpath party invite camp --role admin --json
`,
    )
    .action(async (name, options) => (await import('./invite.ts')).invite(runtime, name, options));
}

function join(party: Command, runtime: Runtime): void {
  withCommon(withServer(party.command('join')))
    .description('join a party by an invite')
    .argument('<invite>', 'the code or the link')
    .option('--as <name>', 'what this node is called in it; the host name unless said otherwise')
    .addHelpText(
      'after',
      `
A link says where the servers are; for a code they are named once.

Examples:
  towpath party join K7QP-2MXA-9RTC-W3HE --server 198.51.100.7
  towpath party join towpath://join/AYd3… --as Ben
`,
    )
    .action(async (text, options) => (await import('./join.ts')).join(runtime, text, options));
}

function members(party: Command, runtime: Runtime): void {
  withCommon(party.command('members'))
    .description('who is in a party and who is connected, verified by this node')
    .argument('[party]', PARTY)
    .option('-w, --watch', 'stay connected, and print changes as they come')
    .option('--for <seconds>', 'with --watch: end after this long', number(0.1, 31_536_000))
    .addHelpText(
      'after',
      `
What was verified before is shown while no server can be reached.

Examples:
  towpath party members
  towpath party members camp --watch
  towpath party members camp --watch --json
`,
    )
    .action(async (name, options) => (await import('./members.ts')).members(runtime, name, options));
}

function list(party: Command, runtime: Runtime): void {
  withCommon(party.command('list'))
    .description('the parties that this node is in')
    .addHelpText('after', '\nExamples:\n  towpath party list\n  towpath party list --json\n')
    .action(async (options) => (await import('./list.ts')).list(runtime, options));
}

function remove(party: Command, runtime: Runtime): void {
  withCommon(party.command('remove'))
    .description('remove somebody from a party: founder and admins')
    .argument('<member>', 'name, virtual address, or how the id begins')
    .option('--party <party>', PARTY)
    .addHelpText(
      'after',
      `
Whoever is removed cannot come back without a new invite; invites that it issued end.

Examples:
  towpath party remove Ben
  towpath party remove 10.66.12.7 --party camp
`,
    )
    .action(async (member, options) => (await import('./manage.ts')).remove(runtime, member, options));
}

function role(party: Command, runtime: Runtime): void {
  withCommon(party.command('role'))
    .description('make somebody an admin, a member, or the founder')
    .argument('<member>', 'name, virtual address, or how the id begins')
    .argument('<role>', 'member, admin or founder; another founder is appointed with the party’s key, where it is kept')
    .option('--party <party>', PARTY)
    .addHelpText(
      'after',
      '\nExamples:\n  towpath party role Ben admin\n  towpath party role Ben founder --party camp\n',
    )
    .action(async (member, wanted, options) => (await import('./manage.ts')).role(runtime, member, wanted, options));
}

function leave(party: Command, runtime: Runtime): void {
  withCommon(party.command('leave'))
    .description('leave a party; its founder appoints another one first')
    .argument('[party]', PARTY)
    .addHelpText('after', '\nExample:\n  towpath party leave camp\n')
    .action(async (name, options) => (await import('./manage.ts')).leave(runtime, name, options));
}

function rotate(party: Command, runtime: Runtime): void {
  withCommon(party.command('rotate'))
    .description('replace the keys of this node in all its parties; ids and addresses stay')
    .addHelpText(
      'after',
      `
When a server cannot be reached, run it again later: the keys that were begun with are used.

Example:
  towpath party rotate
`,
    )
    .action(async (options) => (await import('./rotate.ts')).rotate(runtime, options));
}

function servers(party: Command, runtime: Runtime): void {
  withCommon(withServer(party.command('servers')))
    .description('show, or with --server change, where this node finds the control plane of a party')
    .argument('[party]', PARTY)
    .addHelpText(
      'after',
      '\nExamples:\n  towpath party servers\n  towpath party servers camp --server https://towpath.example.org\n',
    )
    .action(async (name, options) => (await import('./manage.ts')).servers(runtime, name, options));
}
