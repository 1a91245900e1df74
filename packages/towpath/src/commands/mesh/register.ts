import type { Command } from 'commander';
import type { Runtime } from '../../cli/runtime.ts';
import { integer, number } from '../../cli/values.ts';

const MEMBER = 'name, virtual address, or first characters of the id';

function withCommon(command: Command): Command {
  return command
    .option('-v, --verbose', 'log details to standard error')
    .option('--json', 'JSON Lines on standard output');
}

const PARTY: [string, string] = ['--party <party>', 'party of the member, where several have one of this name'];

/** `towpath ping` */
export function registerPing(program: Command, runtime: Runtime): void {
  withCommon(program.command('ping'))
    .description('measure round trips to a member through the tunnel, and show each of its paths')
    .argument('<member>', MEMBER)
    .option(...PARTY)
    .option('-c, --count <count>', 'how many echoes', integer(1, 10_000), 4)
    .option('-i, --interval <seconds>', 'between two echoes, in seconds', number(0.1, 3_600), 1)
    .addHelpText(
      'after',
      '\nExit code 3: no echo was answered.\n\nExamples:\n  towpath ping ben\n  towpath ping 10.66.12.7 -c 10 -i 0.2\n  towpath ping ben --party camp\n',
    )
    .action(async (member, options) => (await import('./ping.ts')).ping(runtime, member, options));
}

/** `towpath paths` */
export function registerPaths(program: Command, runtime: Runtime): void {
  withCommon(program.command('paths'))
    .description('list the paths to a member, or follow what happens to them')
    .argument('<member>', MEMBER)
    .option(...PARTY)
    .option('-f, --follow', 'print every attempt and switch as it happens')
    .addHelpText('after', '\nExamples:\n  towpath paths ben\n  towpath paths ben --follow\n')
    .action(async (member, options) => (await import('./paths.ts')).paths(runtime, member, options));
}

/** `towpath doctor` */
export function registerDoctor(program: Command, runtime: Runtime): void {
  withCommon(program.command('doctor'))
    .description('check what peers need on this machine, and say how to install what is missing')
    .addHelpText('after', '\nExit code 5: peers cannot be connected on this machine.\n\nExample:\n  towpath doctor\n')
    .action(async (options) => (await import('./doctor.ts')).doctor(runtime, options));
}
