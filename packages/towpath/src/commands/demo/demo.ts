import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CameraClient, CameraEmulator, type ConnectResult, type MediaItem, RaceConnector } from '@towpath/camera';
import { formatEndpoint, type Network } from '@towpath/net';
import { searchLan } from '@towpath/pppp';
import { RaceView } from '../../cli/race-view.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { formatBytes, formatMs } from '../../cli/table.ts';
import { fetchInto } from '../camera/download.ts';

interface DemoOptions extends CommonOptions {
  once?: boolean;
  output?: string;
  pictures: number;
}

const HERE = '127.0.0.1';
/** The camera listens on the fourth of six ports; the others are open and silent. */
const PORTS = 6;
const LIVE = 3;
/** The camera reboots when this many pictures are here, and is away for this long. */
const REBOOT_AFTER = 4;
const REBOOT_MS = 2_000;

/** The main job with nothing else installed. */
export async function demo(runtime: Runtime, options: DemoOptions): Promise<void> {
  const { io, clock, random, network, log, signal } = runtime;
  const steps = new Steps(runtime, options.json ?? false);
  const [searchPort = 0, ...ports] = await freePorts(network, PORTS + 1);
  const listenPort = ports[LIVE] ?? 0;
  await using emulator = new CameraEmulator(
    { network, clock, random, log },
    {
      address: HERE,
      listenPort,
      searchPort,
      firewall: true,
      deadPorts: ports.filter((port) => port !== listenPort),
      name: 'TOWPATH DEMO',
    },
  );
  await emulator.start();
  steps.say(
    'camera',
    `An emulated camera listens on ${formatEndpoint(emulator.listen)}, behind a firewall that serves\nonly the first (address, port) it hears; ${PORTS - 1} other ports are open and silent.`,
    {
      listen: emulator.listen,
    },
  );

  await find(runtime, steps, searchPort);
  const view = new RaceView(io);
  const races: ConnectResult[] = [];
  await using camera = new CameraClient({
    clock,
    random,
    log,
    connector: new RaceConnector(HERE, {
      network,
      clock,
      random,
      logger: log,
      destinationPorts: ports,
      searchPort,
      onProgress: (progress) => (options.json ? undefined : view.step(progress)),
      onResult: (result) => {
        races.push(result);
        if (!options.json) view.finish(result.report);
      },
    }),
  });
  await connect(runtime, steps, camera, races);
  const items = await list(runtime, steps, camera, emulator);
  const folder = options.output ?? (await mkdtemp(join(tmpdir(), 'towpath-demo-')));
  await fetchAll(runtime, steps, {
    camera,
    emulator,
    folder,
    pictures: options.pictures,
    races,
    json: options.json ?? false,
  });
  steps.say('done', `Pictures of ${items.length} items are in ${folder}`, { folder });
  if (options.json || options.once || !io.interactive) return;
  emulator.setFirewall(false);
  io.err(
    `The camera stays on, its firewall off. In another terminal: npx towpath camera connect ${HERE} --ports ${listenPort}`,
  );
  io.err('Ctrl-C ends.');
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

async function find({ network, clock, log, signal }: Runtime, steps: Steps, searchPort: number): Promise<void> {
  const hosts = [{ address: HERE, port: searchPort }];
  for await (const found of searchLan({ network, clock, log, hosts, broadcast: false, durationMs: 1_000, signal })) {
    steps.say('find', `Found ${found.uid} at ${formatEndpoint(found.endpoint)} in ${formatMs(found.afterMs)}`, {
      uid: found.uid,
      endpoint: found.endpoint,
    });
    return;
  }
  steps.say('find', 'The search was not answered; going on by address.', {});
}

async function connect({ clock, signal }: Runtime, steps: Steps, camera: CameraClient, races: ConnectResult[]) {
  const startedAt = clock.now();
  steps.say('race', `Racing to six ports over two ways`, {});
  await camera.connectWithRetries({ signal });
  const connectedMs = clock.now() - startedAt;
  const race = races.at(-1);
  if (!race?.success) return;
  const { winningThread, port, destinationPort, elapsedTime } = race;
  const how = `${winningThread} reached port ${destinationPort} from ${port} in ${formatMs(elapsedTime * 1_000)}`;
  steps.say('login', `${how}; logged in after ${formatMs(connectedMs)}`, {
    winningThread,
    port,
    destinationPort,
    connectedMs,
  });
}

async function list({ signal }: Runtime, steps: Steps, camera: CameraClient, emulator: CameraEmulator) {
  const info = await camera.deviceInfo({ signal });
  steps.say('info', `${info.modelName}, firmware ${info.fwVerName}, battery ${info.batPercent} %`, {
    device: info.devId,
  });
  let pages = 0;
  const stop = emulator.events.on('command', ({ name }) => {
    if (name === 'mediaList') pages++;
  });
  const items: MediaItem[] = [];
  for await (const item of camera.mediaList({ signal })) items.push(item);
  stop();
  steps.say('list', `${items.length} pictures on ${pages} pages`, { items: items.length, pages });
  return items;
}

interface FetchPlan {
  camera: CameraClient;
  emulator: CameraEmulator;
  folder: string;
  pictures: number;
  races: ConnectResult[];
  json: boolean;
}

async function fetchAll(runtime: Runtime, steps: Steps, plan: FetchPlan): Promise<void> {
  const { camera, emulator, folder, pictures, races, json } = plan;
  const fetching = { ...quietOnSaved(runtime), camera, json: false };
  const thumbnails = await fetchInto(fetching, folder, 'thumbnails', {});
  steps.say(
    'thumbnails',
    `${thumbnails.saved} small pictures, ${formatBytes(thumbnails.bytes)} in ${formatMs(thumbnails.elapsedMs)}`,
    {
      saved: thumbnails.saved,
    },
  );

  let files = 0;
  let lostAt = 0;
  let awayMs = 0;
  const before = races.at(-1);
  camera.events.on('lost', ({ message }) => {
    lostAt = runtime.clock.now();
    steps.say('lost', message, {});
  });
  camera.events.on('connected', ({ reconnect }) => {
    if (!reconnect) return;
    awayMs = runtime.clock.now() - lostAt;
    const after = races.at(-1);
    const same = before?.success && after?.success && before.port === after.port;
    steps.say(
      'back',
      `Reconnected ${formatMs(awayMs)} after the loss, from ${same ? 'the same' : 'a fresh'} local port`,
      {
        awayMs: Math.round(awayMs),
        samePort: same ?? false,
      },
    );
  });
  const io = {
    ...fetching.io,
    out: () => {
      files++;
      if (files !== REBOOT_AFTER) return;
      steps.say('reboot', `The camera reboots after ${files} pictures and is away for ${REBOOT_MS / 1_000} s`, {
        files,
      });
      emulator.reboot({ downMs: REBOOT_MS, keepFirewall: true });
    },
  };
  const summary = await fetchInto({ ...fetching, io }, folder, 'files', { limit: pictures });
  if (json)
    runtime.io.out(
      JSON.stringify({ step: 'download', saved: summary.saved, bytes: summary.bytes, failed: summary.failed.length }),
    );
  else
    steps.say(
      'download',
      `${summary.saved} pictures, ${formatBytes(summary.bytes)}, ${summary.failed.length === 0 ? 'every one complete' : `${summary.failed.length} of them could not be had`}`,
      {},
    );
}

/** Saved thumbnails are summed up instead of being listed one by one. */
function quietOnSaved(runtime: Runtime): Runtime {
  return { ...runtime, io: { ...runtime.io, out: () => {}, err: () => {} } };
}

/** Free UDP ports of the loopback address. They may be taken by others right after, which is unlikely enough here. */
async function freePorts(network: Network, count: number): Promise<number[]> {
  const sockets = await Promise.all(
    Array.from({ length: count }, () => network.bindUdp({ address: HERE, onMessage: () => {} })),
  );
  const ports = sockets.map(({ local }) => local.port);
  await Promise.all(sockets.map((socket) => socket.close()));
  return ports;
}

/** What the demo says: a line with its time for a person, an object for a program. */
class Steps {
  readonly #runtime: Runtime;
  readonly #json: boolean;
  readonly #startedAt: number;

  constructor(runtime: Runtime, json: boolean) {
    this.#runtime = runtime;
    this.#json = json;
    this.#startedAt = runtime.clock.now();
  }

  /** @param text its lines stand below each other on a terminal */
  say(step: string, text: string, fields: object): void {
    const { io, clock } = this.#runtime;
    const atMs = Math.round(clock.now() - this.#startedAt);
    if (this.#json) io.out(JSON.stringify({ step, atMs, text: text.replaceAll('\n', ' '), ...fields }));
    else
      io.out(
        `${io.style('dim', `${(atMs / 1_000).toFixed(2).padStart(6)} s`)}  ${io.style('bold', step.padEnd(10))} ${text.replaceAll('\n', `\n${' '.repeat(21)}`)}`,
      );
  }
}
