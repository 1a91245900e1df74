import type { Command } from 'commander';
import type { Runtime } from '../../cli/runtime.ts';
import { integer, number } from '../../cli/values.ts';
import { SETTINGS } from '../../daemon/config/settings.ts';

const PARTY = 'name, or first characters of the id; all of them without it';
const MEMBER = 'name, virtual address, or first characters of the id';

function withCommon(command: Command): Command {
  return command
    .option('-v, --verbose', 'log details to standard error')
    .option('--json', 'JSON Lines on standard output');
}

/** Collects the values of an option that is given several times. */
function collect(text: string, before: string[] = []): string[] {
  return [...before, text];
}

/** `towpath up` */
export function registerUp(program: Command, runtime: Runtime): void {
  const command = withCommon(program.command('up'))
    .description('hold the parties and cameras of this machine, and serve the page, until ended')
    .argument('[party]', PARTY)
    .option('--no-splice', 'carry direct paths in this process instead of the kernel')
    .option('--no-names', 'do not write the names of the members to the hosts file')
    .option('--lan', 'forward broadcasts, mDNS and SSDP between the members')
    .option('--offer <network>', 'let members reach a network beside this machine, as 192.168.43.0/24', collect)
    .option('--accept <member=network>', 'use a network that a member offers, as pi=192.168.43.0/24', collect)
    .option('--relay', 'relay for the other members that have no other path to each other (default: off)')
    .option('--relay-port <port>', 'UDP and TCP port of the relay (default: 3478)', integer(1, 65_535))
    .option('--relay-ports <range>', 'ports of relayed addresses (default: 49152-65535)')
    .option(
      '--relay-address <address>',
      'public address whose ports a router forwards here (default: that of an interface)',
    )
    .option('--relay-sessions <count>', 'relayed addresses of all members together (default: 128)', integer(1, 65_535))
    .option(
      '--relay-rate <kilobytes>',
      'relayed kilobytes of all members together per second (default: 5000)',
      integer(1, 10_000_000),
    )
    .option('--relay-allow-peer <network>', 'network that may be relayed to besides the public Internet', collect)
    .option('--policy <policy>', 'paths to use: auto, direct-only, relay-only or lan-only (default: auto)')
    .option('--redundant', 'send every packet on two paths')
    .option('--network <network>', 'addresses of the party, the same on all members (default: 10.66.0.0/16)')
    .option('--domain <domain>', 'domain of the names; empty for none (default: internal)')
    .option('--port <port>', 'UDP port of the path socket (default: chosen by the system)', integer(0, 65_535))
    .option('--no-birthday', 'do not search for the ports of NATs that choose a new one for each destination')
    .option('--no-port-mapping', 'do not ask the router to map a port (PCP, NAT-PMP, UPnP)')
    .option('--mtu <bytes>', 'largest packet in the tunnel, bytes (default: 1420)', integer(576, 9_000))
    .option('--backend <backend>', 'auto, kernel or userspace (wireguard-go) (default: auto)')
    .option('--for <seconds>', 'end after this time, in seconds', number(0.1, 31_536_000))
    .option('--replace', 'take over from a towpath up that runs, as after an upgrade: it ends once this one has loaded')
    .option('--wait', 'start also with neither a party nor a camera, and wait for the first camera');
  for (const { flag, value, description, byDefault } of SETTINGS) {
    command.option(`${flag} <${value.toLowerCase()}>`, `${description} (default: ${byDefault})`);
  }
  command
    .addHelpText(
      'after',
      `
Parties need Linux and root (or CAP_NET_ADMIN); cameras need neither. Everything that is made on the machine is removed when
it ends; after a crash, the next "towpath up" or "towpath down" does. Options take precedence over the
environment, and the environment over the configuration file: see "towpath config".

With --relay this machine, if it has a public address, runs a TURN server for the members of the party and for nobody else; a
member that is removed is refused at once. The members use it when it answers them. Open its ports in the host's firewall.

Examples:
  towpath up
  towpath up camp --lan
  towpath up --replace
  towpath up --relay --relay-rate 2000
  towpath up --offer 192.168.43.0/24
  towpath up --accept pi=192.168.43.0/24
`,
    )
    .action(async (name: string | undefined, all: Record<string, unknown>) => {
      // Commander says that a --no- option is true when it was not given.
      const given = Object.fromEntries(
        Object.entries(all).filter(([key]) => command.getOptionValueSource(key) === 'cli'),
      );
      const { upOptions, up } = await import('./up.ts');
      await up(runtime, name, upOptions(given), given);
    });
}

/** `towpath down` */
export function registerDown(program: Command, runtime: Runtime): void {
  withCommon(program.command('down'))
    .description('end towpath up, and remove what a killed one left behind')
    .addHelpText(
      'after',
      '\nExit code 5: towpath up is not running, and nothing was left behind.\n\nExample:\n  towpath down\n',
    )
    .action(async (options) => (await import('./down.ts')).down(runtime, options));
}

/** `towpath status` */
export function registerStatus(program: Command, runtime: Runtime): void {
  withCommon(program.command('status'))
    .description('show how each member and camera is reached, over what, since when and why')
    .option('--party <party>', 'only this party: name, or first characters of the id')
    .addHelpText('after', '\nExamples:\n  towpath status\n  towpath status --party camp\n  towpath status --json\n')
    .action(async (options) => (await import('./status.ts')).status(runtime, options));
}

/** `towpath why` */
export function registerWhy(program: Command, runtime: Runtime): void {
  withCommon(program.command('why'))
    .description('explain how a member or camera is reached, why not better, and what would help')
    .argument('<target>', `member: ${MEMBER}; or the name of a camera`)
    .option('--party <party>', 'party of the member, where several have one of this name')
    .addHelpText(
      'after',
      `
Exit codes: 0 reached directly, 10 reached through a relay, 20 not reached, 2 no such
member or camera, 5 towpath up is not running.

Reason codes: docs/protocol/reasons.md.

Examples:
  towpath why ben
  towpath why feeder --json
`,
    )
    .action(async (target, options) => (await import('./why.ts')).why(runtime, target, options));
}

/** `towpath dashboard` */
export function registerDashboard(program: Command, runtime: Runtime): void {
  withCommon(program.command('dashboard'))
    .description('print the link of the page, with its token: whoever has the link can use everything')
    .addHelpText('after', '\nExamples:\n  towpath dashboard\n  xdg-open "$(towpath dashboard)"\n')
    .action(async (options) => (await import('./dashboard.ts')).dashboard(runtime, options));
}

/** `towpath logs` */
export function registerLogs(program: Command, runtime: Runtime): void {
  withCommon(program.command('logs'))
    .description('print the log of towpath up, also when it does not run')
    .option('-n, --lines <count>', 'how many lines', integer(1, 1_000_000), 100)
    .option('-f, --follow', 'go on with new lines until Ctrl-C')
    .option('--level <level>', 'lowest level: debug, info, warn or error', 'debug')
    .addHelpText('after', '\nExamples:\n  towpath logs\n  towpath logs -f --level warn\n')
    .action(async (options) => (await import('./logs.ts')).logs(runtime, options));
}

/** `towpath config` */
export function registerConfig(program: Command, runtime: Runtime): void {
  const config = program.command('config').description('show and check the configuration');
  const settings = SETTINGS.map(
    ({ key, env, byDefault, description }) => `  ${key.padEnd(26)} ${description} (default: ${byDefault}; ${env})`,
  ).join('\n');
  withCommon(config.command('show'))
    .description('show what towpath up would run with, and where each setting comes from')
    .addHelpText(
      'after',
      `\nSettings of the file, and their names in the environment:\n${settings}\n\nExample:\n  towpath config show\n`,
    )
    .action(async (options) => (await import('./config.ts')).show(runtime, options));
  withCommon(config.command('check'))
    .description('check the configuration file; 0 when it is right, 5 with every fault when it is not')
    .addHelpText('after', '\nExample:\n  towpath config check\n')
    .action(async (options) => (await import('./config.ts')).check(runtime, options));
  withCommon(config.command('path'))
    .description('print the path of the configuration file')
    .addHelpText('after', '\nExample:\n  towpath config path\n')
    .action(async (options) => (await import('./config.ts')).path(runtime, options));
}

/** `towpath service` */
export function registerService(program: Command, runtime: Runtime): void {
  const service = program.command('service').description('run towpath up at every start of the machine (systemd)');
  withCommon(service.command('install'))
    .description('write a hardened systemd unit for towpath up, enable and start it; needs root')
    .option('--cameras-only', 'without parties: an unprivileged user and no capability at all')
    .option('--print', 'print the unit and change nothing')
    .addHelpText(
      'after',
      `
The unit keeps one capability, CAP_NET_ADMIN, for WireGuard, routes and nftables. The state folder is the one of this
command: ${runtime.configFolder}

Examples:
  towpath service install --cameras-only --print
  sudo towpath service install
`,
    )
    .action(async (options) => (await import('./service.ts')).install(runtime, options));
  withCommon(service.command('uninstall'))
    .description('stop, disable and remove the unit; keys, configuration and pictures stay')
    .addHelpText('after', '\nNeeds root.\n\nExample:\n  towpath service uninstall\n')
    .action(async (options) => (await import('./service.ts')).uninstall(runtime, options));
}

/** `towpath bugreport` */
export function registerBugreport(program: Command, runtime: Runtime): void {
  withCommon(program.command('bugreport'))
    .description(
      'write an archive with versions, configuration, state, log and checks; keys, tokens and public addresses are replaced',
    )
    .option('-o, --output <file>', 'the archive (default: towpath-bugreport-DATE.tar.gz)')
    .addHelpText('after', '\nExample:\n  towpath bugreport -o /tmp/report.tar.gz\n')
    .action(async (options) => (await import('./bugreport.ts')).bugreport(runtime, options));
}

/** `towpath completion` */
export function registerCompletion(program: Command, runtime: Runtime, whole: () => Promise<Command>): void {
  withCommon(program.command('completion'))
    .description('print the completion script of a shell')
    .argument('<shell>', 'bash, zsh or fish')
    .addHelpText(
      'after',
      `
Examples:
  towpath completion bash > /etc/bash_completion.d/towpath
  towpath completion zsh > "\${fpath[1]}/_towpath"
  towpath completion fish > ~/.config/fish/completions/towpath.fish
`,
    )
    .action(async (shell, options) =>
      (await import('./completion.ts')).completion(runtime, await whole(), shell, options),
    );
}
