import type { Command } from 'commander';
import type { Runtime } from '../../cli/runtime.ts';
import { timeZone } from '../../cli/values.ts';
import { coordinate } from '../../cli/coordinate.ts';

/** `camera export` */
export function registerExport(camera: Command, runtime: Runtime): void {
  camera
    .command('export')
    .description('copy downloaded pictures for other programs: EXIF with date and camera name, Camtrap DP')
    .argument('<from>', 'folder of camera download or camera watch, or the name of a camera that "towpath up" holds')
    .argument('<to>', 'folder for the copies')
    .option('--name <name>', "the camera's name, for EXIF (default: its device id)")
    .option('--camtrap-dp', 'write a Camera Trap Data Package 1.0: datapackage.json, CSV tables, folder media')
    .option('--latitude <degrees>', 'where the camera is, for Camtrap DP', coordinate(90))
    .option('--longitude <degrees>', 'where the camera is, for Camtrap DP', coordinate(180))
    .option('--contributor <name>', 'who publishes the data, for Camtrap DP (default: unknown)')
    .option('--camera-time-zone <zone>', "zone of the camera's clock (default: this machine's)", timeZone)
    .option('--json', 'one JSON object per file and a summary')
    .addHelpText(
      'after',
      `
Photos that have EXIF from the camera keep it.

Examples:
  towpath camera export garden photos --name "Deer Path"
  towpath camera export feeder photos
  towpath camera export garden package --camtrap-dp \\
      --latitude 52.70442 --longitude 23.84995
`,
    )
    .action(async (from, to, options) => (await import('./export.ts')).exportPictures(runtime, from, to, options));
}
