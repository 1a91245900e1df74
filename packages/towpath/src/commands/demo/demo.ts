import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CameraClient, type CameraRaceResult, type MediaItem, RaceConnector } from '@towpath/camera';
import { CameraEmulator } from '@towpath/camera/emulator';
import { formatEndpoint, type Network } from '@towpath/net';
import { searchLan } from '@towpath/pppp';
import { RaceView } from '../../cli/race-view.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { counted, formatBytes, formatMs } from '../../cli/table.ts';
import { fetchInto } from '../camera/download.ts';
import { pathText } from '../camera/path-text.ts';
import { printJson } from '../../cli/json-output.ts';

interface DemoOptions extends CommonOptions {
  once?: boolean;
  output?: string;
  pictures: number;
}

const HERE = '127.0.0.1';
/** The camera listens on the fourth of six ports; the others are open but do not answer. */
const PORTS = 6;
const LIVE = 3;
/** The camera reboots after this many pictures, and is unreachable for this long. */
const REBOOT_AFTER = 4;
const REBOOT_MS = 2_000;

/** Shows the main functions with an emulated camera. */
export async function demo(runtime: Runtime, options: DemoOptions): Promise<void> {
  const { io, clock, random, network, log } = runtime;
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
    `An emulated camera listens on ${formatEndpoint(emulator.listen)}. It serves only the first (address, port)\nthat sends a packet; ${PORTS - 1} other ports are open but do not answer.`,
    {
      listen: emulator.listen,
    },
  );

  await find(runtime, steps, searchPort);
  const view = new RaceView(io);
  const races: CameraRaceResult[] = [];
  await using camera = new CameraClient({
    clock,
    random,
    log,
    connector: new RaceConnector(
      { network, clock, random, log },
      {
        target: HERE,
        ports,
        searchPort,
        onProgress: (progress) => (options.json ? undefined : view.step(progress)),
        onResult: (result) => {
          races.push(result);
          if (!options.json) view.finish(result.report);
        },
      },
    ),
  });
  await connect(runtime, steps, camera, races);
  const items = await list(runtime, steps, camera, emulator);
  await using stack = new AsyncDisposableStack();
  const folder = options.output ?? (await mkdtemp(join(tmpdir(), 'towpath-demo-')));
  if (options.output === undefined) stack.defer(() => rm(folder, { recursive: true, force: true }));
  await fetchAll(runtime, steps, {
    camera,
    emulator,
    folder,
    pictures: options.pictures,
    races,
    json: options.json ?? false,
  });
  const kept = options.output !== undefined;
  const until = kept ? '' : ', until the demo ends; --output FOLDER keeps them';
  steps.say('done', `Pictures of ${counted(items.length, 'item')} are in ${folder}${until}`, { folder, kept });
  await camera.close();
  emulator.setFirewall(false);
  await showPage(runtime, steps, { listenPort, searchPort }, options);
}

/** The daemon with the camera and two peers behind simulated NATs, and its page. */
async function showPage(
  runtime: Runtime,
  steps: Steps,
  { listenPort, searchPort }: { listenPort: number; searchPort: number },
  options: DemoOptions,
): Promise<void> {
  const { io, clock, signal } = runtime;
  const { openDemoPage } = await import('./demo-page.ts');
  await using page = await openDemoPage(runtime, [{ name: 'demo', port: listenPort, searchPort }]);
  const peers = () => [...page.daemon.parties.values()].flatMap((runner) => runner.peers());
  const limitMs = clock.now() + PEERS_LIMIT_MS;
  while (clock.now() < limitMs && !(peers().length > 1 && peers().every(({ status }) => status === 'connected'))) {
    await clock.sleep(POLL_MS, signal);
  }
  for (const { name, strategy, latencyMs, pathReason, relayReason } of peers()) {
    const how = strategy === null ? 'not reached' : strategy === 'direct' ? 'directly' : 'through the relay';
    const time = latencyMs === null ? '' : ` in ${formatMs(latencyMs)}`;
    steps.say(
      'peer',
      `${name}, behind a simulated NAT, is reached ${how}${time}: ${(relayReason ?? pathReason).text}`,
      {
        peer: name,
        strategy,
        latencyMs,
      },
    );
  }
  if (options.json || options.once || !io.interactive) {
    const text =
      'The page of the daemon was served; it ends now. On a terminal and without --once it stays until Ctrl-C';
    steps.say('page', text, { address: page.address, served: false });
    return;
  }
  steps.say('page', `The page of the daemon: ${page.link}`, { address: page.address, served: true });
  io.err(
    `The emulated camera keeps running. In another terminal: npx towpath camera connect ${HERE} --ports ${listenPort}`,
  );
  io.err('Press Ctrl-C to end.');
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Punching takes a second or two; a loaded machine more. */
const PEERS_LIMIT_MS = 15_000;
const POLL_MS = 50;

async function find({ network, clock, log, signal }: Runtime, steps: Steps, searchPort: number): Promise<void> {
  const hosts = [{ address: HERE, port: searchPort }];
  for await (const found of searchLan({ network, clock, log, hosts, broadcast: false, durationMs: 1_000, signal })) {
    steps.say('find', `Found ${found.uid} at ${formatEndpoint(found.endpoint)} in ${formatMs(found.afterMs)}`, {
      uid: found.uid,
      endpoint: found.endpoint,
    });
    return;
  }
  steps.say('find', 'No answer to the search; connecting by address.', {});
}

async function connect({ clock, signal }: Runtime, steps: Steps, camera: CameraClient, races: CameraRaceResult[]) {
  const startedAt = clock.now();
  steps.say('race', `Trying six ports directly, and a LAN search`, {});
  await camera.connectWithRetries({ signal });
  const connectedMs = clock.now() - startedAt;
  const race = races.at(-1);
  if (!race?.ok) return;
  const { kind, session, report } = race;
  const how = `Reached ${pathText(kind, session)}, in ${formatMs(report.elapsedMs)}`;
  steps.say('login', `${how}; logged in after ${formatMs(connectedMs)}`, {
    kind,
    port: session.local.port,
    destinationPort: session.peer.port,
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
  races: CameraRaceResult[];
  json: boolean;
}

async function fetchAll(runtime: Runtime, steps: Steps, plan: FetchPlan): Promise<void> {
  const { camera, emulator, folder, pictures, races, json } = plan;
  const fetching = { ...quietOnSaved(runtime), camera, json: false };
  const thumbnails = await fetchInto(fetching, folder, 'thumbnails', {});
  steps.say(
    'thumbnails',
    `${thumbnails.saved} thumbnails, ${formatBytes(thumbnails.bytes)} in ${formatMs(thumbnails.elapsedMs)}`,
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
    const same = before?.ok && after?.ok && before.session.local.port === after.session.local.port;
    steps.say(
      'back',
      `Reconnected ${formatMs(awayMs)} after the loss, from ${same ? 'the same' : 'a new'} local port`,
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
      steps.say('reboot', `The camera reboots after ${files} pictures and is unreachable for ${REBOOT_MS / 1_000} s`, {
        files,
      });
      emulator.reboot({ downMs: REBOOT_MS, keepFirewall: true });
    },
  };
  const summary = await fetchInto({ ...fetching, io }, folder, 'files', { limit: pictures });
  if (json)
    printJson(runtime.io, 'step', {
      step: 'download',
      saved: summary.saved,
      bytes: summary.bytes,
      failed: summary.failed.length,
    });
  else
    steps.say(
      'download',
      `${summary.saved} pictures, ${formatBytes(summary.bytes)}, ${summary.failed.length === 0 ? 'all complete' : `${summary.failed.length} of them failed`}`,
      {},
    );
}

/** Suppresses the line for each saved thumbnail. */
function quietOnSaved(runtime: Runtime): Runtime {
  return { ...runtime, io: { ...runtime.io, out: () => {}, err: () => {} } };
}

/** Returns free UDP ports of the loopback address. Another process could take them before they are used. */
async function freePorts(network: Network, count: number): Promise<number[]> {
  const sockets = await Promise.all(
    Array.from({ length: count }, () => network.bindUdp({ address: HERE, onMessage: () => {} })),
  );
  const ports = sockets.map(({ local }) => local.port);
  await Promise.all(sockets.map((socket) => socket.close()));
  return ports;
}

/** Output of the demo: a line with its time, or a JSON object. */
class Steps {
  readonly #runtime: Runtime;
  readonly #json: boolean;
  readonly #startedAt: number;

  constructor(runtime: Runtime, json: boolean) {
    this.#runtime = runtime;
    this.#json = json;
    this.#startedAt = runtime.clock.now();
  }

  /** @param text its lines are aligned on a terminal */
  say(step: string, text: string, fields: object): void {
    const { io, clock } = this.#runtime;
    const atMs = Math.round(clock.now() - this.#startedAt);
    if (this.#json) printJson(io, 'step', { step, atMs, text: text.replaceAll('\n', ' '), ...fields });
    else
      io.out(
        `${io.style('dim', `${(atMs / 1_000).toFixed(2).padStart(6)} s`)}  ${io.style('bold', step.padEnd(10))} ${text.replaceAll('\n', `\n${' '.repeat(21)}`)}`,
      );
  }
}
