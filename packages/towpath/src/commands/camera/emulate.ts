import {
  CameraEmulator,
  type CameraEmulatorOptions,
  type EmulatorFaultOptions,
  type LinkFaults,
  paddedPictures,
  SharedPortNetwork,
  WorkerPictures,
} from '@towpath/camera/emulator';
import { type Endpoint, formatEndpoint, isUnspecified } from '@towpath/net';
import { UsageError } from '../../cli/failure.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { counted } from '../../cli/table.ts';
import { readSecret } from '../../config/secret-file.ts';
import { untilOver } from '../../serve/run-time.ts';
import { printJson } from '../../cli/json-output.ts';

interface EmulateOptions extends CommonOptions {
  address: string;
  port: number;
  searchPort: number;
  cameras: number;
  uid?: string;
  key?: string;
  videosEvery: number;
  offerTcp?: boolean;
  servers?: Endpoint[];
  secretFile?: string;
  items: number;
  deadPorts?: number[];
  firewall?: boolean;
  /** Seconds. */
  newPictureEvery?: number;
  fault?: string;
  seed: number;
  timeCode?: boolean;
  /** Seconds. */
  for?: number;
}

/**
 * Pictures are drawn for this many cameras at most; more cameras serve small pictures that are padded to a realistic
 * size.
 */
const MAX_DRAWN = 16;

const DEFAULT_PORT = 40_611;
const DEFAULT_SEARCH_PORT = 32_108;

/** Runs emulated cameras until Ctrl-C or until the time limit. */
export async function emulate(runtime: Runtime, options: EmulateOptions): Promise<void> {
  const { io, clock, random, log, signal } = runtime;
  // All cameras of this process answer searches on one port.
  const network = new SharedPortNetwork(runtime.network, options.searchPort);
  await using cameras = new AsyncDisposableStack();
  const pictures = options.cameras > MAX_DRAWN ? paddedPictures() : cameras.use(new WorkerPictures());
  for (let n = 0; n < options.cameras; n++) {
    const settings = { ...cameraOptions(options, n), pictures };
    const camera = cameras.use(new CameraEmulator({ network, clock, random, log }, settings));
    await camera.start();
    if (n === 0 || options.cameras <= MAX_DRAWN) announce(runtime, camera, options);
    if (options.cameras <= MAX_DRAWN) tell(runtime, camera, options);
  }
  if (options.cameras > MAX_DRAWN) io.err(`${options.cameras} cameras listen on ports ${options.port} and up`);
  if (!options.json) io.err(io.style('dim', `Next: ${nextCommand(options)}`));
  await untilOver(runtime, options.for);
  if (!options.json && !signal.aborted) io.err('Time limit reached.');
}

function cameraOptions(options: EmulateOptions, number: number): CameraEmulatorOptions {
  const { address, port, searchPort, uid, key, servers, secretFile, items } = options;
  const { deadPorts, firewall, newPictureEvery, fault, seed } = options;
  return {
    seed: seed + number,
    ...(options.timeCode === true && { timeCode: true }),
    address,
    listenPort: port === 0 ? 0 : port + number,
    searchPort: searchPort === 0 ? false : searchPort,
    itemCount: items,
    ...(uid === undefined ? {} : { uid }),
    // A keyed camera understands nothing else.
    ...(key === undefined ? {} : { keys: [key], plaintext: false }),
    videoEvery: options.videosEvery,
    ...(options.offerTcp === undefined ? {} : { offersTcp: options.offerTcp }),
    ...(servers === undefined ? {} : { servers }),
    ...(secretFile === undefined ? {} : { secret: readSecret(secretFile) }),
    ...(deadPorts === undefined || number > 0 ? {} : { deadPorts }),
    ...(firewall === undefined ? {} : { firewall }),
    ...(newPictureEvery === undefined ? {} : { newPictureEveryMs: newPictureEvery * 1_000 }),
    ...(fault === undefined ? {} : { faults: parseFaults(fault) }),
  };
}

/** Returns a command line that connects to the first camera. */
function nextCommand({ address, port, searchPort, uid, key, servers, cameras }: EmulateOptions): string {
  const host = isUnspecified(address) ? '127.0.0.1' : address;
  const search = searchPort === 0 || searchPort === DEFAULT_SEARCH_PORT ? '' : ` --search-port ${searchPort}`;
  const keyed = key === undefined ? '' : ` --key ${key}`;
  if (servers !== undefined && uid !== undefined) {
    return `towpath camera connect ${uid} --servers ${servers.map(formatEndpoint).join(',')}${keyed}`;
  }
  // A port that the system chose is found by the search.
  const known = port === 0 || port === DEFAULT_PORT ? '' : ` --ports ${port}`;
  const named = uid === undefined ? '' : ` --uid ${uid}`;
  if (cameras > 1 && searchPort !== 0) return `towpath camera find --host ${host}${search}${keyed}`;
  return `towpath camera connect ${host}${known}${search}${named}${keyed}`;
}

function announce({ io }: Runtime, camera: CameraEmulator, { json, items }: EmulateOptions): void {
  const { name, deviceId, listen } = camera;
  if (json) printJson(io, 'listening', { name, deviceId, ...listen, items });
  else io.out(`${name} (${deviceId}) listens on ${formatEndpoint(listen)} with ${counted(items, 'item')}`);
}

function tell({ io, clock }: Runtime, camera: CameraEmulator, { json }: EmulateOptions): void {
  const say = (type: string, text: string, fields: object) => {
    if (json) printJson(io, type, { name: camera.name, ...fields });
    else io.err(`${io.style('dim', new Date(clock.wallTime()).toTimeString().slice(0, 8))} ${type.padEnd(8)} ${text}`);
  };
  const online = new Set<string>();
  camera.events.on('online', ({ server }) => {
    // Logins are repeated; only the first at each server is shown.
    if (online.has(formatEndpoint(server))) return;
    online.add(formatEndpoint(server));
    say('online', `at ${formatEndpoint(server)}`, { server });
  });
  camera.events.on('session', ({ peer, pathKind }) =>
    say('session', `${formatEndpoint(peer)} (${pathKind})`, { peer, pathKind }),
  );
  camera.events.on('login', ({ peer }) => say('login', formatEndpoint(peer), { peer }));
  camera.events.on('command', ({ peer, id, name }) => {
    if (name !== 'heartbeat') say('command', `${id} ${name}`, { peer, id, command: name });
  });
  camera.events.on('closed', ({ peer, reason }) =>
    say('closed', `${formatEndpoint(peer)} ${reason}`, { peer, reason }),
  );
  camera.events.on('picture', ({ item }) => say('picture', `${item.dirNum}/${item.mediaNum}`, { item }));
}

const LINK_FAULTS: Readonly<Record<string, (value: number) => Partial<LinkFaults>>> = {
  loss: (lossRatio) => ({ lossRatio }),
  delay: (delayMs) => ({ delayMs }),
  duplicate: (duplicateRatio) => ({ duplicateRatio }),
  reorder: (reorderRatio) => ({ reorderRatio }),
  slow: (bytesPerSecond) => ({ bytesPerSecond }),
};
const CAMERA_FAULTS: Readonly<Record<string, EmulatorFaultOptions>> = {
  stuck: { stuck: true },
  silent: { silent: true },
  'wrong-token': { wrongToken: true },
  'hostile-text': { hostileText: true },
  close: { closeAfterMs: 5_000 },
};

/** `loss=0.2,delay=20,stuck` → faults; faults of the network apply in both directions. */
export function parseFaults(text: string): EmulatorFaultOptions {
  let link: Partial<LinkFaults> = {};
  let camera: EmulatorFaultOptions = {};
  for (const part of text.split(',')) {
    const [name = '', value] = part.trim().split('=');
    const ofLink = LINK_FAULTS[name];
    const ofCamera = CAMERA_FAULTS[name];
    const amount = Number(value);
    if (ofLink && value !== undefined && amount >= 0) link = { ...link, ...ofLink(amount) };
    else if (ofCamera && value === undefined) camera = { ...camera, ...ofCamera };
    else {
      const known = [...Object.keys(LINK_FAULTS).map((fault) => `${fault}=NUMBER`), ...Object.keys(CAMERA_FAULTS)];
      throw new UsageError(`"${part}" is not a fault. Known faults: ${known.join(', ')}.`);
    }
  }
  return { ...camera, toCamera: link, fromCamera: link };
}
