import { errorCode, errorMessage } from '@towpath/core';
import type { ConnectionStatus } from '@towpath/mesh';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { SuccessorExpected } from '../../cli/successor-expected.ts';
import { timeText } from '../../cli/time-text.ts';
import { oneLine } from '../../cli/terminal-text.ts';
import { CONNECTED, takeProcessLock } from '../../config/process-lock.ts';
import { publishAddress } from '../../daemon/api/address-file.ts';
import { ApiServer } from '../../daemon/api/api-server.ts';
import { ApiToken } from '../../daemon/api/token.ts';
import { configPath, type GivenSettings, loadConfig } from '../../daemon/config/config-file.ts';
import { ConfigWatch } from '../../daemon/config/config-watch.ts';
import { SETTINGS } from '../../daemon/config/settings.ts';
import { Daemon } from '../../daemon/daemon.ts';
import { daemonLog, type LogControl } from '../../daemon/log/file-log.ts';
import type { PartyRunner } from '../../daemon/parties/party-runner.ts';
import { StateFolder } from '../../daemon/state/state-folder.ts';
import { untilOver } from '../../serve/run-time.ts';
import { homeOf } from '../party/party-node.ts';
import { NOTHING, rehearseInterface, replaceRunning } from './replace.ts';
import { chooseParties, type PartyFlags, rememberNetworks } from './party-options.ts';
import { filterText } from './filter-text.ts';
import { substituteText } from './substitute-text.ts';
import { jsonLine, printJson } from '../../cli/json-output.ts';

/** Options of `towpath up` that were given; the configuration fills in the others. */
export interface UpOptions extends CommonOptions, PartyFlags {
  /** Seconds. */
  for?: number;
  /** Take over from a daemon that runs. */
  replace?: boolean;
  /** Start with nothing to hold. */
  wait?: boolean;
}

/** The options of a party and of the command, out of all that were given. */
export function upOptions(given: Readonly<Record<string, unknown>>): UpOptions {
  const isSetting = new Set(SETTINGS.map(({ flag }) => optionName(flag)));
  return Object.fromEntries(Object.entries(given).filter(([name]) => !isSetting.has(name)));
}

/** `--api-port` as Commander names it: `apiPort`. */
function optionName(flag: string): string {
  return flag.slice(2).replaceAll(/-([a-z])/g, (_all, letter: string) => letter.toUpperCase());
}

/** Holds parties and cameras until it is ended. */
export async function up(
  runtime: Runtime,
  name: string | undefined,
  options: UpOptions,
  settings: Readonly<Record<string, unknown>>,
): Promise<void> {
  const { io, clock, random, configFolder } = runtime;
  const given = givenSettings(settings);
  const state = StateFolder.open(configFolder, { nowMs: clock.wallTime() });
  const config = loadConfig(runtime, given);
  const chosen = chooseParties(runtime, config, name, partyFlags(options), options.wait ?? false);
  // After options and configuration were accepted: while neither daemon runs, peers are cut off.
  const rehearse = () =>
    rehearseInterface(
      runtime,
      chosen.map((each) => each.options.backend),
    );
  const { pathPorts, isSuccessor } = options.replace ? await replaceRunning(runtime, rehearse) : NOTHING;
  const parties = chosen.map((each) => ({
    ...each,
    options: { ...each.options, preferredPort: pathPorts[each.party.id] },
  }));
  using _lock = takeProcessLock(homeOf(runtime).lockPath, CONNECTED);
  rememberNetworks(runtime, parties);
  const control: LogControl = { level: config.log.level };
  const log = daemonLog(
    { io, clock },
    { stateFolder: state.path, control, format: config.log.format, verbose: options.verbose ?? false },
  );
  for (const notice of state.notices) log.warn(notice);
  const running = { ...runtime, log };
  await using daemon = new Daemon(running, { config, state, parties, given, isSuccessor });
  follow(running, options, daemon);
  // Peers wait for the parties, and nobody for the API.
  const starting = daemon.start();
  starting.catch(() => {
    // It is awaited below, unless the API fails first.
  });
  await using _socket = await ApiServer.onSocket(daemon, state.path);
  const token = ApiToken.load(state.path, random);
  await using http = config.api.http ? await page(running, daemon, { token, isSuccessor }) : undefined;
  using _address = publishAddress(state.path, http?.address);
  log.info('Started', { parties: parties.length, cameras: config.cameras.length, api: http?.address });
  await starting;
  using _watch = new ConfigWatch(running, configPath(runtime), async () => {
    await daemon.reload();
    control.level = daemon.config.log.level;
  });
  greet(running, options, daemon, http?.address);
  await untilOver({ ...runtime, signal: AbortSignal.any([runtime.signal, daemon.ended.signal]) }, options.for);
  if (runtime.signal.reason instanceof SuccessorExpected) daemon.expectSuccessor();
  log.info('Ending');
}

/** Serves the page. A successor goes on without it: nobody else holds the parties and cameras. */
async function page(
  { io, log }: Runtime,
  daemon: Daemon,
  { token, isSuccessor }: { token: ApiToken; isSuccessor: boolean },
): Promise<ApiServer | undefined> {
  try {
    return await ApiServer.onLoopback(daemon, { port: daemon.config.api.port, token });
  } catch (error) {
    if (!isSuccessor) throw error;
    const message = `The page is not served: ${errorMessage(error)}`;
    log.error(message, { code: errorCode(error) });
    io.err(message);
    return undefined;
  }
}

function partyFlags({
  json: _json,
  verbose: _verbose,
  for: _for,
  replace: _replace,
  wait: _wait,
  ...flags
}: UpOptions): PartyFlags {
  return flags;
}

function givenSettings(settings: Readonly<Record<string, unknown>>): GivenSettings {
  return Object.fromEntries(
    SETTINGS.flatMap(({ key, flag }) => {
      const value = settings[optionName(flag)];
      return typeof value === 'string' ? [[key, value]] : [];
    }),
  );
}

function greet({ io }: Runtime, { json }: UpOptions, daemon: Daemon, address: string | undefined): void {
  if (json) {
    if (address !== undefined) printJson(io, 'api', { address });
    return;
  }
  const cameras = [...daemon.cameras.keys()];
  if (cameras.length > 0) io.out(`Cameras: ${cameras.join(', ')}`);
  if (daemon.parties.size === 0 && cameras.length === 0) {
    io.out('Nothing is configured. Next: towpath camera add NAME ADDRESS, or towpath party join CODE --server HOST');
  }
  if (address !== undefined) io.out(`Page: ${address}  (for the link with its token: towpath dashboard)`);
}

function follow(runtime: Runtime, options: UpOptions, daemon: Daemon): void {
  const { io, clock } = runtime;
  const at = () => new Date(clock.wallTime()).toISOString();
  for (const runner of daemon.parties.values()) {
    runner.events.on('up', (node) => {
      const { interfaceName, backend } = node.network;
      const head = { party: runner.party.name, address: node.address, interface: interfaceName, backend };
      if (options.json) printJson(io, 'up', { at: at(), ...head });
      else {
        io.out(`${head.party} is up: ${head.address} on ${interfaceName} (WireGuard: ${backend}). End with Ctrl-C.`);
        const party = runner.describe();
        for (const text of [substituteText(party), filterText(party)]) if (text !== undefined) io.out(oneLine(text));
      }
      tellPeers(runtime, options, runner, at);
    });
  }
}

function tellPeers({ io, clock }: Runtime, { json }: UpOptions, { node }: PartyRunner, at: () => string): void {
  node?.manager.events.on('changed', ({ what, reason, status }) => {
    io.out(
      json
        ? jsonLine(what, { at: at(), reason, peer: status })
        : `${timeText(io, clock.wallTime())}  ${describe(what, reason, status)}`,
    );
  });
  node?.network.events.on('lost', ({ message }) => io.err(`The WireGuard interface is gone: ${message}`));
  node?.network.events.on('restored', () => io.err('The WireGuard interface was made again.'));
}

function describe(
  what: string,
  reason: string,
  { name, status, strategy, endpoint, dataPlane, mtuBytes }: ConnectionStatus,
): string {
  switch (what) {
    case 'path':
      return strategy ? `${name}: ${strategy} path to ${endpoint} (${reason})` : `${name}: no path (${reason})`;
    case 'data-plane':
      return `${name}: carried by the ${dataPlane} (${reason})`;
    case 'mtu':
      return `${name}: packets of up to ${mtuBytes} bytes`;
    default:
      return `${name}: ${what === 'status' ? status : what} (${reason})`;
  }
}
