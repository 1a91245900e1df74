import { Command } from 'commander';
import { COMMAND_GROUPS } from './command-groups.ts';
import { fitHelp, fitText, helpWidth } from './help.ts';
import type { Runtime } from './runtime.ts';
import { VERSION } from './version.ts';

const EXIT_CODES = `
Exit codes:
  0    done
  1    failed
  2    wrong command line
  3    not reached, or connection lost
  4    refused by the other side
  5    local error: a port, a file, a permission, or towpath up is not running
  6    verification of a control server's data failed
  10   towpath why: reached through a relay
  20   towpath why: not reached
  130  interrupted
`;

/**
 * Builds the command line.
 *
 * @param args given, only the group that they name is loaded and the others appear with their description alone, so that
 *   `--help` and each command start quickly; without it every command is loaded
 */
export async function createProgram(runtime: Runtime, args?: readonly string[]): Promise<Command> {
  const program = new Command('towpath')
    .description('Reaches a trail camera or a peer over the fastest path that works, and keeps it reachable.')
    .version(VERSION)
    .showHelpAfterError('Next: see --help.')
    .addHelpText(
      'after',
      `${EXIT_CODES}
Examples:
  towpath demo                             shows everything; needs nothing else
  towpath camera find                      lists the cameras on this network
  towpath camera download 192.168.43.1     downloads what the folder lacks
  towpath camera add feeder 192.168.43.1   a camera that towpath up holds
  towpath up                               holds parties and cameras
  towpath serve                            control plane, STUN and TURN
  towpath party create NAME --server HOST  creates a private network
  towpath party invite                     lets another machine join it
  towpath why NAME                         how a member or camera is reached
`,
    );
  program.hook('preAction', () => runtime.prepare?.());
  configure(program, runtime);
  const named = args && groupOf(args);
  for (const group of COMMAND_GROUPS) {
    if (args === undefined || group.name === named)
      (await group.load())(program, runtime, () => createProgram(runtime));
    else program.command(group.name);
    program.commands.at(-1)?.description(group.description);
  }
  for (const command of descendants(program)) configure(command, runtime);
  return program;
}

/** The first word that is no option; `help GROUP` names its group. */
function groupOf(args: readonly string[]): string | undefined {
  const words = args.filter((arg) => !arg.startsWith('-'));
  return words[0] === 'help' ? words[1] : words[0];
}

function configure(command: Command, { io }: Runtime): void {
  const width = helpWidth(io);
  fitHelp(command, width);
  command.exitOverride().configureOutput({
    writeOut: (text) => io.out(fitText(text.trimEnd(), width)),
    // An error stays one line, for whoever searches a log for it; only the help of an incomplete command is fitted.
    writeErr: (text) => io.err(text.startsWith('Usage:') ? fitText(text.trimEnd(), width) : text.trimEnd()),
    outputError: (text, write) => write(text.replace(/^error: /, `${io.style('red', 'towpath:')} `)),
  });
}

function descendants(command: Command): Command[] {
  return command.commands.flatMap((child) => [child, ...descendants(child)]);
}
