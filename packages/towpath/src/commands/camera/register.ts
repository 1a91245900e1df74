import { type Command, Option } from 'commander';
import type { Runtime } from '../../cli/runtime.ts';
import { registerHeld } from './register-held.ts';
import { registerExport } from './register-export.ts';
import { registerOutputs } from './register-outputs.ts';
import { registerSettings } from './register-settings.ts';
import { registerWake, withWake } from './register-wake.ts';
import {
  timeZone,
  date,
  duration,
  endpointList,
  integer,
  items,
  list,
  number,
  portList,
  weights,
} from '../../cli/values.ts';

const DEFAULT_HOST = '192.168.43.1';

/** `towpath camera …` */
export function registerCamera(program: Command, runtime: Runtime): void {
  const camera = program.command('camera').description('trail cameras that speak PPPP (KJK230 and its family)');
  registerWake(camera, runtime);
  find(camera, runtime);
  registerHeld(camera, runtime);
  connect(camera, runtime);
  info(camera, runtime);
  registerSettings(camera, runtime, withTarget);
  registerOutputs(camera, runtime, withTarget);
  registerExport(camera, runtime);
  media(camera, runtime);
  thumbnails(camera, runtime);
  download(camera, runtime);
  watch(camera, runtime);
  live(camera, runtime);
  remove(camera, runtime);
  format(camera, runtime);
  anyCommand(camera, runtime);
  stats(camera, runtime);
  emulate(camera, runtime);
  decode(camera, runtime);
  camera.hook('preAction', async (_camera, action) => {
    const at = action.registeredArguments.findIndex((argument) => argument.name() === 'camera');
    if (at < 0 || action.processedArgs[at] === undefined) return;
    // What is taken out of the configuration is named, and not reached.
    if (action.name() === 'remove') return;
    await runtime.prepare?.();
    const { useConfigured } = await import('./named.ts');
    useConfigured(runtime, action, at);
    await goThrough(runtime, action, at);
  });
}

/** `--via`: behind a member there is a route to the camera's address, and neither a broadcast nor a rendezvous. */
async function goThrough(runtime: Runtime, action: Command, at: number): Promise<void> {
  const { via } = action.opts<{ via?: string }>();
  if (via === undefined) return;
  const { requireRoute } = await import('./via.ts');
  await requireRoute(runtime, String(action.processedArgs[at]), via);
  action.setOptionValue('only', ['lan']);
}

/** Heading of the options that choose how a camera is reached. */
const TRANSPORT = 'Transport options:';
/** Heading of the options for the camera's clock. */
const CLOCK = 'Clock options:';
/** Heading of the options that say where an emulated camera is. */
const NETWORK = 'Network options:';

/** Adds the options of every command that connects to a camera: the common ones first, then the transport. */
function withTarget(command: Command): Command {
  const transport = <Value>(flags: string, description: string, parse?: (text: string) => Value) => {
    const option = new Option(flags, description).helpGroup(TRANSPORT);
    command.addOption(parse === undefined ? option : option.argParser(parse));
  };
  command
    .argument('[camera]', 'name of a camera that was added, IP address, or UID with --servers', DEFAULT_HOST)
    .option(
      '--timeout <seconds>',
      'time limit for connecting, and for coming back when lost, in seconds (default: 90)',
      number(0.1, 3_600),
    )
    .option('-v, --verbose', 'log details to standard error')
    .option('--json', 'print JSON on standard output');
  transport('--via <member>', 'the camera is in a network that this member of the party offers; needs towpath up');
  transport('--only <kinds>', 'use only these kinds of path: lan, p2p, relay', list(['lan', 'p2p', 'relay']));
  transport('--ports <list>', 'try only these ports, in this order; without --search-port no LAN search', portList);
  transport(
    '--servers <list>',
    'rendezvous servers for P2P and relayed paths, as ADDRESS[:PORT]',
    endpointList(32_100),
  );
  transport(
    '--relays <list>',
    'relays to use instead of those that the servers list, as ADDRESS[:PORT]',
    endpointList(32_110),
  );
  transport('--secret-file <file>', "file with the camera's secret for the servers (DSK), mode 0600");
  transport('--uid <uid>', "the camera's UID (default: the constant of the KJK230 family)");
  transport('--key <key>', 'network key, such as camera or SHIX (default: none)');
  transport('--search-port <port>', 'UDP port for LAN search (default: 32108)', integer(1, 65_535));
  transport('--local-address <address>', 'connect from this address, so through the interface that has it');
  transport(
    '--weights <list>',
    'preference for each kind of path, such as lan=1,p2p=0.8 (default: learned from earlier attempts)',
    weights,
  );
  return withClock(command);
}

/** Adds the options for the camera's clock, which a login sets. */
function withClock(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--camera-time-zone <zone>',
        "time zone that the camera's clock is set to at login, as Europe/Berlin or +02:00 (default: this machine's)",
      )
        .argParser(timeZone)
        .helpGroup(CLOCK),
    )
    .addOption(new Option('--keep-clock', "do not set the camera's clock at login").helpGroup(CLOCK));
}

function find(camera: Command, runtime: Runtime): void {
  camera
    .command('find')
    .description('look for cameras on this network')
    .option('--host <address...>', 'search these addresses')
    .option('--subnet <prefix...>', 'search every address of these networks, such as 192.168.1.0/24')
    .option('--local-address <address>', 'search only through the interface with this address')
    .option('--search-port <port>', 'UDP port to search (default: 32108)', integer(1, 65_535))
    .option('--timeout <seconds>', 'how long to search, in seconds', number(0.1, 600), 2)
    .option('--key <key...>', 'also search with these network keys')
    .option('-v, --verbose', 'log details to standard error')
    .option('--json', 'one JSON object per camera, and a summary, on standard output')
    .addHelpText(
      'after',
      `
Exit code 3: no camera answered.

Examples:
  towpath camera find
  towpath camera find --subnet 192.168.1.0/24 --json
`,
    )
    .action(async (options) => (await import('./find.ts')).find(runtime, options));
}

function connect(camera: Command, runtime: Runtime): void {
  withWake(withTarget(camera.command('connect')), { bluetooth: true, wifi: true })
    .option('--wake', 'first wake the camera over Bluetooth and join its hotspot')
    .description('connect, log in, and show every attempt with its result')
    .option(
      '--settle <seconds>',
      'when connected by relay, wait up to this long for a direct path, in seconds; then show the path in use',
      number(0, 600),
    )
    .addHelpText(
      'after',
      `
Examples:
  towpath camera connect
  towpath camera connect feeder
  towpath camera connect --wake
  towpath camera connect 192.168.43.1 --ports 40611,32100
  towpath camera connect 192.168.1.50 --only lan --json
  towpath camera connect LBCS-000000-CCCJJ --servers 198.51.100.7 \\
      --only p2p,relay
`,
    )
    .action(async (host, options) => (await import('./connect.ts')).connect(runtime, host, options));
}

function info(camera: Command, runtime: Runtime): void {
  withTarget(camera.command('info'))
    .description('show device information: model, firmware, battery, card')
    .addHelpText('after', '\nExamples:\n  towpath camera info 192.168.43.1 --json\n  towpath camera info feeder\n')
    .action(async (host, options) => (await import('./info.ts')).info(runtime, host, options));
}

function media(camera: Command, runtime: Runtime): void {
  withTarget(camera.command('media'))
    .description('list the pictures and videos on the card')
    .option('--since <date>', 'only items taken after this date, such as 2026-05-01 or 2026-05-01T18:00', date)
    .addHelpText('after', '\nExamples:\n  towpath camera media\n  towpath camera media --since 2026-05-01 --json\n')
    .action(async (host, options) => (await import('./media.ts')).media(runtime, host, options));
}

function thumbnails(camera: Command, runtime: Runtime): void {
  withTarget(camera.command('thumbnails'))
    .description('download the thumbnails of all items on the card')
    .option('-o, --output <folder>', 'folder for the downloaded files', 'camera')
    .option('--since <date>', 'only items taken after this date', date)
    .option('--all', 'download again what the folder already has')
    .addHelpText('after', '\nExample:\n  towpath camera thumbnails -o garden\n')
    .action(async (host, options) => (await import('./download.ts')).thumbnails(runtime, host, options));
}

function download(camera: Command, runtime: Runtime): void {
  withTarget(camera.command('download'))
    .description('download pictures and videos that the folder does not have yet; can be interrupted and resumed')
    .option('-o, --output <folder>', 'folder for the downloaded files', 'camera')
    .option('--since <date>', 'only items taken after this date', date)
    .option('--new-only', 'only items that are not in the index of an earlier download')
    .option('--limit <count>', 'download at most this many items, newest first', integer(1, 100_000))
    .option('--items <list>', 'only these items, as DIR/NUMBER: 100/318,100/317', items)
    .addHelpText(
      'after',
      `
Examples:
  towpath camera download -o garden
  towpath camera download feeder -o garden
  towpath camera download 192.168.43.1 --since 2026-05-01 --limit 20
  towpath camera download --items 100/318,100/317 --json
`,
    )
    .action(async (host, options) => (await import('./download.ts')).download(runtime, host, options));
}

function watch(camera: Command, runtime: Runtime): void {
  withWake(withTarget(camera.command('watch')), { bluetooth: true, wifi: true })
    .description('stay connected, print events, and report new pictures')
    .option('-o, --output <folder>', 'download to this folder what it lacks since it was first used')
    .option('--exec <command>', 'run this for each downloaded file, with its path as the last argument')
    .option('--every <time>', 'how often to check for new pictures, as 10, 30m or 2h', duration(1, 7 * 86_400), 10)
    .option('--wake', 'for each check, wake the camera over Bluetooth and join its hotspot; it sleeps in between')
    .option(
      '--for <seconds>',
      'end after this time, in seconds (default: run until interrupted)',
      number(0.1, 31_536_000),
    )
    .addHelpText(
      'after',
      '\nExamples:\n  towpath camera watch -o garden\n  towpath camera watch -o garden --wake --every 2h\n',
    )
    .action(async (host, options) =>
      options.wake
        ? (await import('./scheduled-watch.ts')).scheduledWatch(runtime, host, options)
        : (await import('./watch.ts')).watch(runtime, host, options),
    );
}

function live(camera: Command, runtime: Runtime): void {
  withTarget(camera.command('live'))
    .description('record live video as MP4 with sound, or write H.264 (Annex B) to a file or to standard output')
    .option('--mp4 <file>', 'record MP4 with sound; the file can be played while it grows')
    .option('--stdout', 'write H.264 to standard output, for a player or go2rtc (default)')
    .option('-o, --output <file>', 'write H.264 to a file, or - for standard output')
    .option(
      '--duration <seconds>',
      'end after this time, in seconds (default: run until interrupted)',
      number(0.1, 86_400),
    )
    .addOption(new Option('--for <seconds>', 'earlier name of --duration').argParser(number(0.1, 86_400)).hideHelp())
    .option('--force', 'replace an existing file')
    .addHelpText(
      'after',
      `
After a lost connection it goes on with the next key frame. A camera that stays
away for as long as --timeout ends the recording, with exit code 3.

Examples:
  towpath camera live --mp4 clip.mp4 --duration 20
  towpath camera live --stdout | ffplay -f h264 -
`,
    )
    .action(async (host, options) => (await import('./live.ts')).live(runtime, host, options));
}

function remove(camera: Command, runtime: Runtime): void {
  withTarget(camera.command('delete'))
    .description('delete items from the card')
    .requiredOption('--items <list>', 'items to delete, as DIR/NUMBER: 100/318,100/317', items)
    .option('--yes', 'do not ask for confirmation')
    .addHelpText('after', '\nExample:\n  towpath camera delete --items 100/318 --yes\n')
    .action(async (host, options) => (await import('./erase.ts')).remove(runtime, host, options));
}

function format(camera: Command, runtime: Runtime): void {
  withTarget(camera.command('format'))
    .description('format the card; all data on it is lost')
    .option('--yes', 'do not ask for confirmation')
    .addHelpText('after', '\nExample:\n  towpath camera format --yes\n')
    .action(async (host, options) => (await import('./erase.ts')).format(runtime, host, options));
}

function anyCommand(camera: Command, runtime: Runtime): void {
  camera
    .command('command')
    .description('send a command by number or name and print the response')
    .argument('<command>', 'command number or name, such as 512 or deviceInfo')
    .argument('[fields]', 'request fields as a JSON object', '{}');
  const command = camera.commands.at(-1) as Command;
  withTarget(command)
    .addHelpText(
      'after',
      `
Examples:
  towpath camera command 512
  towpath camera command 768 '{"itemCntPerPage":10,"pageNo":0}' 192.168.43.1
`,
    )
    .action(async (id, fields, host, options) =>
      (await import('./command.ts')).command(runtime, id, fields, host, options),
    );
}

function stats(camera: Command, runtime: Runtime): void {
  camera
    .command('stats')
    .description('show statistics of earlier attempts: successes, connect times, failures by reason')
    .argument('[camera]', 'name of a camera that was added, IP address, or UID (default: every camera)')
    .option('--prometheus', 'print in Prometheus text format')
    .option('--json', 'JSON Lines on standard output')
    .addHelpText(
      'after',
      '\nExamples:\n  towpath camera stats\n  towpath camera stats 192.168.43.1\n  towpath camera stats --prometheus > towpath.prom\n',
    )
    .action(async (host, options) => (await import('./stats.ts')).stats(runtime, host, options));
}

function emulate(camera: Command, runtime: Runtime): void {
  const command = camera
    .command('emulate')
    .description('run an emulated camera; can inject faults')
    .option('--port <port>', 'listen port', integer(0, 65_535), 40_611)
    .option('--items <count>', 'number of items on the card', integer(0, 9_999), 83)
    .option('--videos-every <count>', 'every n-th item is a video; 0 for none', integer(0, 9_999), 0)
    .option('--new-picture-every <seconds>', 'add a picture at this interval, in seconds', number(0.1, 86_400))
    .option(
      '--fault <list>',
      'faults, separated by commas: loss=0.2, delay=20 (ms), duplicate=0.05, reorder=0.1, slow=1000000 (bytes/s), stuck, silent, wrong-token, hostile-text, close',
    )
    .option('--seed <number>', 'seed of the pictures and faults', integer(0, 4_294_967_295), 1)
    .option('--time-code', 'draw the time of this machine into live pictures, for programs that measure the delay')
    .option(
      '--for <seconds>',
      'end after this time, in seconds (default: run until interrupted)',
      number(0.1, 31_536_000),
    )
    .option('-v, --verbose', 'log details to standard error')
    .option('--json', 'JSON on standard output');
  const network = <Value>(
    flags: string,
    description: string,
    parse?: (text: string) => Value,
    preset?: Value | string,
  ) => {
    const option = new Option(flags, description).helpGroup(NETWORK);
    if (parse !== undefined) option.argParser(parse);
    command.addOption(preset === undefined ? option : option.default(preset));
  };
  network('--address <address>', 'local address to listen on', undefined, '127.0.0.1');
  network('--search-port <port>', 'UDP port for LAN search; 0 to answer no searches', integer(0, 65_535), 32_108);
  network('--cameras <count>', 'number of cameras, on consecutive ports', integer(1, 2_000), 1);
  network('--uid <uid>', 'UID of the camera');
  network('--key <key>', 'network key; only datagrams with this key are answered (default: none)');
  network('--servers <list>', 'rendezvous servers to log in at, as HOST:PORT', endpointList(32_100));
  network('--secret-file <file>', 'file with its secret for the servers (DSK), mode 0600');
  network('--offer-tcp', 'offer TCP (message 0x43) 51 times to clients that search, as the recorded camera does');
  network('--dead-ports <list>', 'additional ports that are open but do not answer', portList);
  network('--firewall', 'serve only the first (address, port) that sends a packet');
  command
    .addHelpText(
      'after',
      `
Examples:
  towpath camera emulate
  towpath camera emulate --port 32100 --dead-ports 40611 --firewall
  towpath camera emulate --fault loss=0.2,delay=20
  towpath camera emulate --address 0.0.0.0 --servers 198.51.100.7
`,
    )
    .action(async (options) => (await import('./emulate.ts')).emulate(runtime, options));
}

function decode(camera: Command, runtime: Runtime): void {
  camera
    .command('decode')
    .description('decode recorded traffic: pcap, pcapng, tcpdump and Frida hexdumps, JSON Lines')
    .argument('<file...>', 'capture files')
    .option('--extract <folder>', 'write the pictures and video found in the traffic to this folder')
    .option('--json', 'one JSON object per message, then one {"summary": …}')
    .addHelpText(
      'after',
      `
Examples:
  towpath camera decode capture.pcapng
  towpath camera decode traffic.log --json --extract pictures
`,
    )
    .action(async (files, options) => (await import('./decode.ts')).decode(runtime, files, options));
}
