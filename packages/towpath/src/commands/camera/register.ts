import type { Command } from 'commander';
import type { Runtime } from '../../cli/runtime.ts';
import { date, endpointList, integer, items, list, number, portList, weights } from '../../cli/values.ts';

const DEFAULT_HOST = '192.168.43.1';

/** `towpath camera …` */
export function registerCamera(program: Command, runtime: Runtime): void {
  const camera = program.command('camera').description('trail cameras that speak PPPP (KJK230 and its family)');
  find(camera, runtime);
  connect(camera, runtime);
  info(camera, runtime);
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
}

/** Options that every command has which talks to a camera. */
function withTarget(command: Command): Command {
  return command
    .argument('[host]', "the camera's IP address, or its UID when servers know where it is", DEFAULT_HOST)
    .option('--servers <list>', 'rendezvous servers for the P2P and relay ways, as HOST:PORT', endpointList(32_100))
    .option('--relays <list>', 'relays besides those that the servers name, as HOST:PORT', endpointList(32_110))
    .option('--secret-file <file>', "file with the camera's secret at the servers, mode 0600")
    .option('--ports <list>', 'ports to race, in order of preference', portList)
    .option('--uid <uid>', "the camera's UID, if it is not the usual one")
    .option('--search-port <port>', 'where the camera answers LAN searches', integer(1, 65_535))
    .option('--only <way>', 'race only these ways: lan, p2p, relay', list(['lan', 'p2p', 'relay']))
    .option('--weights <list>', 'head starts of the ways, such as lan=1,p2p=0.8; learnt unless given', weights)
    .option('--key <key>', 'network key of a keyed dialect, such as camera or SHIX')
    .option('--local-address <address>', 'local address to leave from')
    .option('--timeout <seconds>', 'give up after this long', number(0.1, 3_600))
    .option('-v, --verbose', 'tell the story on standard error')
    .option('--json', 'one JSON object on standard output');
}

function find(camera: Command, runtime: Runtime): void {
  camera
    .command('find')
    .description('look for cameras on this network')
    .option('--host <address...>', 'ask these addresses')
    .option('--subnet <prefix...>', 'ask every address of these networks, such as 192.168.1.0/24')
    .option('--search-port <port>', 'where cameras answer', integer(1, 65_535))
    .option('--timeout <seconds>', 'how long to listen', number(0.1, 600), 2)
    .option('--key <key...>', 'search in these network keys too')
    .option('-v, --verbose', 'tell the story on standard error')
    .option('--json', 'one JSON object per camera on standard output')
    .addHelpText(
      'after',
      `
Examples:
  towpath camera find
  towpath camera find --subnet 192.168.1.0/24 --json
`,
    )
    .action(async (options) => (await import('./find.ts')).find(runtime, options));
}

function connect(camera: Command, runtime: Runtime): void {
  withTarget(camera.command('connect'))
    .description('race to the camera, log in, and show who won and why')
    .option(
      '--settle <seconds>',
      'over a relay, wait so long for a direct path, and say which way carries',
      number(0, 600),
    )
    .addHelpText(
      'after',
      `
Examples:
  towpath camera connect
  towpath camera connect 192.168.43.1 --ports 40611,32100
  towpath camera connect 192.168.1.50 --only lan --json
  towpath camera connect LBCS-000000-CCCJJ --servers 198.51.100.7 --only p2p,relay
`,
    )
    .action(async (host, options) => (await import('./connect.ts')).connect(runtime, host, options));
}

function info(camera: Command, runtime: Runtime): void {
  withTarget(camera.command('info'))
    .description('what the camera says about itself')
    .addHelpText('after', '\nExample:\n  towpath camera info 192.168.43.1 --json\n')
    .action(async (host, options) => (await import('./info.ts')).info(runtime, host, options));
}

function media(camera: Command, runtime: Runtime): void {
  withTarget(camera.command('media'))
    .description('list the pictures and videos on the card')
    .option('--since <date>', 'only what is newer, such as 2026-05-01 or 2026-05-01T18:00', date)
    .addHelpText('after', '\nExamples:\n  towpath camera media\n  towpath camera media --since 2026-05-01 --json\n')
    .action(async (host, options) => (await import('./media.ts')).media(runtime, host, options));
}

function thumbnails(camera: Command, runtime: Runtime): void {
  withTarget(camera.command('thumbnails'))
    .description('fetch small pictures of everything on the card')
    .option('-o, --output <folder>', 'where to put them', 'camera')
    .option('--since <date>', 'only what is newer', date)
    .option('--all', 'fetch again what is here already')
    .addHelpText('after', '\nExample:\n  towpath camera thumbnails -o garden\n')
    .action(async (host, options) => (await import('./download.ts')).thumbnails(runtime, host, options));
}

function download(camera: Command, runtime: Runtime): void {
  withTarget(camera.command('download'))
    .description('fetch pictures and videos to disk; goes on where it stopped')
    .option('-o, --output <folder>', 'where to put them', 'camera')
    .option('--since <date>', 'only what is newer', date)
    .option('--new-only', 'only what was not in the index at the last download')
    .option('--limit <count>', 'at most this many, newest first', integer(1, 100_000))
    .option('--items <list>', 'only these, as DIR/NUMBER: 100/318,100/317', items)
    .addHelpText(
      'after',
      `
Examples:
  towpath camera download -o garden
  towpath camera download 192.168.43.1 --since 2026-05-01 --limit 20
  towpath camera download --items 100/318,100/317 --json
`,
    )
    .action(async (host, options) => (await import('./download.ts')).download(runtime, host, options));
}

function watch(camera: Command, runtime: Runtime): void {
  withTarget(camera.command('watch'))
    .description('keep the link, print events, and show new pictures as they appear')
    .option('-o, --output <folder>', 'download new pictures here')
    .option('--every <seconds>', 'how often to look for new pictures', number(1, 86_400), 10)
    .option('--for <seconds>', 'end after this long', number(0.1, 31_536_000))
    .addHelpText('after', '\nExample:\n  towpath camera watch -o garden\n')
    .action(async (host, options) => (await import('./watch.ts')).watch(runtime, host, options));
}

function live(camera: Command, runtime: Runtime): void {
  withTarget(camera.command('live'))
    .description('live video as H.264 Annex B, to a file or to a player')
    .option('-o, --output <file>', 'file to write, or - for standard output', '-')
    .option('--for <seconds>', 'end after this long', number(0.1, 86_400))
    .addHelpText(
      'after',
      '\nExamples:\n  towpath camera live | ffplay -f h264 -\n  towpath camera live -o clip.h264 --for 20\n',
    )
    .action(async (host, options) => (await import('./live.ts')).live(runtime, host, options));
}

function remove(camera: Command, runtime: Runtime): void {
  withTarget(camera.command('delete'))
    .description('delete items from the card')
    .requiredOption('--items <list>', 'which, as DIR/NUMBER: 100/318,100/317', items)
    .option('--yes', 'do it without asking')
    .addHelpText('after', '\nExample:\n  towpath camera delete --items 100/318 --yes\n')
    .action(async (host, options) => (await import('./erase.ts')).remove(runtime, host, options));
}

function format(camera: Command, runtime: Runtime): void {
  withTarget(camera.command('format'))
    .description('format the card: everything on it is lost')
    .option('--yes', 'do it without asking')
    .addHelpText('after', '\nExample:\n  towpath camera format --yes\n')
    .action(async (host, options) => (await import('./erase.ts')).format(runtime, host, options));
}

function anyCommand(camera: Command, runtime: Runtime): void {
  camera
    .command('command')
    .description('send any command by number or name and print the answer')
    .argument('<command>', 'command number or name, such as 512 or deviceInfo')
    .argument('[fields]', 'further fields as JSON', '{}');
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
    .description('what earlier races to a camera have shown: attempts, wins, times, failures by reason')
    .argument('[host]', "the camera's IP address", DEFAULT_HOST)
    .option('--prometheus', 'as a Prometheus page')
    .option('--json', 'one JSON object on standard output')
    .addHelpText(
      'after',
      '\nExamples:\n  towpath camera stats 192.168.43.1\n  towpath camera stats --prometheus > towpath.prom\n',
    )
    .action(async (host, options) => (await import('./stats.ts')).stats(runtime, host, options));
}

function emulate(camera: Command, runtime: Runtime): void {
  camera
    .command('emulate')
    .description('be a camera: for trying things out, for tests, for other programs')
    .option('--address <address>', 'local address to listen on', '127.0.0.1')
    .option('--port <port>', 'listen port', integer(0, 65_535), 40_611)
    .option('--search-port <port>', 'where LAN searches are answered; 0 for nowhere', integer(0, 65_535), 32_108)
    .option('--cameras <count>', 'several cameras, on consecutive ports', integer(1, 2_000), 1)
    .option('--uid <uid>', 'UID of the camera')
    .option('--key <key>', 'network key of a keyed dialect')
    .option('--servers <list>', 'rendezvous servers to log in at, as HOST:PORT', endpointList(32_100))
    .option('--secret-file <file>', 'file with its secret at the servers, mode 0600')
    .option('--items <count>', 'pictures on the card', integer(0, 9_999), 83)
    .option('--dead-ports <list>', 'further ports that are open but silent', portList)
    .option('--firewall', 'serve only the first (address, port) that makes contact')
    .option('--new-picture-every <seconds>', 'take a picture every so often', number(0.1, 86_400))
    .option(
      '--fault <list>',
      'faults: loss=0.2,delay=20,duplicate=0.05,reorder=0.1,slow=1000000,stuck,silent,wrong-token,close',
    )
    .option('--seed <number>', 'the same seed makes the same pictures and faults', integer(0, 4_294_967_295), 1)
    .option('--for <seconds>', 'end after this long', number(0.1, 31_536_000))
    .option('-v, --verbose', 'tell the story on standard error')
    .option('--json', 'JSON on standard output')
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
    .description('decode recorded traffic: pcap, pcapng, tcpdump and Frida hexdumps, JSON lines')
    .argument('<file...>', 'capture files')
    .option('--extract <folder>', 'write pictures and video found in the traffic')
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
