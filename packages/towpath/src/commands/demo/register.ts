import type { Command } from 'commander';
import { integer } from '../../cli/values.ts';
import type { Runtime } from '../../cli/runtime.ts';

/** `towpath demo` */
export function registerDemo(program: Command, runtime: Runtime): void {
  program
    .command('demo')
    .description(
      'find an emulated camera, connect, download its pictures, reconnect; reach two peers behind simulated NATs; show the page',
    )
    .option('--once', 'end after the last step (default: without a terminal)')
    .option('-o, --output <folder>', 'folder for the pictures (default: a temporary one, removed at the end)')
    .option('--pictures <count>', 'number of pictures to download', integer(1, 83), 12)
    .option('-v, --verbose', 'log details to standard error')
    .option('--json', 'one JSON object per step on standard output')
    .addHelpText('after', '\nExamples:\n  towpath demo\n  towpath demo --once --json\n')
    .action(async (options) => (await import('./demo.ts')).demo(runtime, options));
}
