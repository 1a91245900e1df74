import type { Command } from 'commander';
import type { Runtime } from '../../cli/runtime.ts';

/** `camera settings` and `camera set`. @param withTarget adds the options of commands that connect */
export function registerSettings(camera: Command, runtime: Runtime, withTarget: (command: Command) => Command): void {
  withTarget(camera.command('settings'))
    .description("show the camera's settings in words; says which values are not known")
    .addHelpText('after', '\nExamples:\n  towpath camera settings\n  towpath camera settings --json\n')
    .action(async (host, options) => (await import('./settings.ts')).settings(runtime, host, options));

  const set = camera
    .command('set')
    .description('change a setting and check that the camera took it')
    .argument('<name>', 'setting, as camera settings names it')
    .argument('<value>', 'its new value')
    .option('--force', 'also change a setting whose values are not known');
  withTarget(set)
    .addHelpText(
      'after',
      `
The command that changes settings is known by its number only, and its fields are inferred, so the value is read back. Where
the camera kept the old one, that is an error.

Examples:
  towpath camera set motion-pause 30
  towpath camera set work-from 06:30 192.168.43.1
`,
    )
    .action(async (name, value, host, options) =>
      (await import('./settings.ts')).set(runtime, name, value, host, options),
    );
}
