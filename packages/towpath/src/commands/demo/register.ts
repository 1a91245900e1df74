import type { Command } from 'commander';
import { integer } from '../../cli/values.ts';
import type { Runtime } from '../../cli/runtime.ts';

/** `towpath demo` */
export function registerDemo(program: Command, runtime: Runtime): void {
  program
    .command('demo')
    .description(
      'the main job with nothing else installed: an emulated camera is found, raced, logged into and emptied',
    )
    .option('--once', 'end by itself; the default where there is no terminal')
    .option('-o, --output <folder>', 'where the pictures go; a temporary folder unless given')
    .option('--pictures <count>', 'how many pictures to download', integer(1, 83), 12)
    .option('-v, --verbose', 'tell the story on standard error')
    .option('--json', 'one JSON object per step on standard output')
    .addHelpText('after', '\nExamples:\n  towpath demo\n  towpath demo --once --json\n')
    .action(async (options) => (await import('./demo.ts')).demo(runtime, options));
}
