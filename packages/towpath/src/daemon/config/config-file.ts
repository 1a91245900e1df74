import { statSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import { parseEndpoint } from '@towpath/net';
import { TowpathError } from '@towpath/core';
import { Document, isMap, isScalar, LineCounter, parseDocument } from 'yaml';
import type { Runtime } from '../../cli/runtime.ts';
import { readPrivateFile, writePrivateFile } from '../../config/private-file.ts';
import { type DaemonConfig, DEFAULT_API_PORT, withDefaults } from './config.ts';
import { describeIssue, inFileOrder, lineOf, type PlaceOf, where } from './faults.ts';
import { parseListen } from './quantities.ts';
import { type CameraFile, type ConfigFile, fileSchema } from './schema.ts';
import { SETTINGS } from './settings.ts';

/** The file is wrong. The message names every place and what is expected there. */
export class ConfigError extends TowpathError<'invalid-config'> {
  /** One line for each fault. */
  readonly faults: readonly string[];

  constructor(path: string, faults: readonly string[]) {
    const shown = faults.join('; ');
    super('invalid-config', `${path}: ${shown}. Next: correct it, then "towpath config check".`, {
      target: path,
      kind: 'local',
    });
    this.faults = faults;
  }
}

/** A file of this size is no configuration. */
const MAX_BYTES = 1_000_000;
/** Far deeper than any configuration, and little enough for the parser. */
const MAX_DEPTH = 50;
/** Control characters, which YAML does not allow either, and what is left of bytes that are not UTF-8. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it looks for
const NOT_TEXT = /[\u0000-\u0008\u000e-\u001f\ufffd]/;
/** More faults than these are not shown at once. */
const MAX_FAULTS = 10;

/** Where a setting comes from. */
export type Origin = 'default' | 'file' | 'environment' | 'command line';

/** `$TOWPATH_CONFIG`, else `config.yaml` in the state folder. */
export function configPath({ io, configFolder }: Pick<Runtime, 'io' | 'configFolder'>): string {
  return io.env.TOWPATH_CONFIG ? resolve(io.env.TOWPATH_CONFIG) : join(configFolder, 'config.yaml');
}

/** Values of settings from the command line, by their key. */
export type GivenSettings = Readonly<Record<string, string>>;

/**
 * Reads the configuration: the file, over it the environment, over it the command line.
 * @throws ConfigError; TowpathError `file-unreadable`.
 */
export function loadConfig(runtime: Pick<Runtime, 'io' | 'configFolder'>, given: GivenSettings = {}): DaemonConfig {
  const path = configPath(runtime);
  const { document, lines } = openDocument(path);
  // The lines are those of the file as it is, before other sources are put over it.
  const file = document.clone();
  applySettings(document, runtime.io.env, given);
  const placeOf: PlaceOf = (place) => sourceOf(place, runtime.io.env, given) ?? lineOf(file, lines, place);
  return withDefaults(check(path, plain(path, document), placeOf), resolve(runtime.configFolder));
}

/** Where each setting comes from. */
export function settingOrigins(
  runtime: Pick<Runtime, 'io' | 'configFolder'>,
  given: GivenSettings = {},
): ReadonlyMap<string, Origin> {
  const { document } = openDocument(configPath(runtime));
  const origin = ({ key, env }: (typeof SETTINGS)[number]): Origin => {
    if (given[key] !== undefined) return 'command line';
    if (runtime.io.env[env]) return 'environment';
    return document.hasIn(key.split('.')) ? 'file' : 'default';
  };
  return new Map(SETTINGS.map((setting) => [setting.key, origin(setting)]));
}

/** Adds a camera or replaces it; comments and order of the file stay. @throws ConfigError, TowpathError. */
export function writeCamera(runtime: Pick<Runtime, 'io' | 'configFolder'>, name: string, camera: CameraFile): void {
  edit(runtime, (document) => document.setIn(['cameras', name], document.createNode(camera)));
}

/** Removes a camera. @returns false when it is not in the file */
export function removeCameraFrom(runtime: Pick<Runtime, 'io' | 'configFolder'>, name: string): boolean {
  if (!openDocument(configPath(runtime)).document.hasIn(['cameras', name])) return false;
  edit(runtime, (document) => document.deleteIn(['cameras', name]));
  return true;
}

function edit(runtime: Pick<Runtime, 'io' | 'configFolder'>, change: (document: Document) => void): void {
  const path = configPath(runtime);
  const { document, lines } = openDocument(path);
  const file = document.clone();
  const placeOf: PlaceOf = (place) => lineOf(file, lines, place);
  check(path, plain(path, document), placeOf);
  if (!isMap(document.contents)) document.contents = document.createNode({}) as never;
  change(document);
  check(path, plain(path, document), placeOf);
  writePrivateFile(path, document.toString({ lineWidth: 0 }));
}

function openDocument(path: string): { document: Document; lines: LineCounter } {
  const text = readPrivateFile(path);
  const lines = new LineCounter();
  if (text === undefined) return { document: new Document({}), lines };
  if (isOpenToAll(path)) throw new ConfigError(path, ['every user of this machine can change it; chmod o-w']);
  if (text.length > MAX_BYTES) throw new ConfigError(path, [`the file is larger than ${MAX_BYTES} bytes`]);
  if (NOT_TEXT.test(text)) throw new ConfigError(path, ['the file is not a text in UTF-8']);
  if (isDeep(text)) throw new ConfigError(path, [`lists and groups are nested deeper than ${MAX_DEPTH} levels`]);
  const document = parseDocument(text, { prettyErrors: true, lineCounter: lines });
  const { errors, contents } = document;
  if (errors.length > 0) {
    const faults = errors.slice(0, MAX_FAULTS).map(({ code, message, linePos }) => {
      if (code === 'MULTIPLE_DOCS') return `line ${linePos?.[0].line ?? '?'}: only one document is read (---)`;
      return message.split('\n')[0]?.replace(/:$/, '') ?? 'not YAML';
    });
    throw new ConfigError(path, faults);
  }
  // Otherwise a setting that is given elsewhere would take the place of what is here.
  if (contents !== null && !isMap(contents) && !(isScalar(contents) && contents.value === null)) {
    throw new ConfigError(path, ['the file: must be a group of settings, such as "api:", "pictures:" and "cameras:"']);
  }
  return { document, lines };
}

/** The file names commands that are run, and where pictures go. */
function isOpenToAll(path: string): boolean {
  // Windows has no such bits; Node reports them for whatever is not read-only.
  return process.platform !== 'win32' && ((statSync(path, { throwIfNoEntry: false })?.mode ?? 0) & 0o002) !== 0;
}

/** True when brackets, list marks or indentation are nested too deeply; brackets in texts count too, which does no harm. */
function isDeep(text: string): boolean {
  let depth = 0;
  for (const character of text) {
    if (character === '[' || character === '{') depth++;
    else if (character === ']' || character === '}') depth = Math.max(0, depth - 1);
    if (depth > MAX_DEPTH) return true;
  }
  const levels = [0];
  for (const line of text.split('\n')) {
    const indent = /^[ -]*/.exec(line)![0].length;
    if (indent === line.length || line[indent] === '#') continue;
    while (levels.at(-1)! > indent) levels.pop();
    if (levels.at(-1)! < indent) levels.push(indent);
    if (levels.length > MAX_DEPTH || (/^ *(- )*/.exec(line)![0].match(/- /g)?.length ?? 0) > MAX_DEPTH) return true;
  }
  return false;
}

/** @throws ConfigError for aliases, with which a small file can describe an endless one. */
function plain(path: string, document: Document): unknown {
  try {
    return document.toJS({ maxAliasCount: 0 });
  } catch {
    throw new ConfigError(path, ['aliases (*name) are not supported']);
  }
}

function applySettings(document: Document, env: Runtime['io']['env'], given: GivenSettings): void {
  for (const { key, env: name } of SETTINGS) {
    const text = given[key] ?? (env[name] || undefined);
    if (text === undefined) continue;
    if (!isMap(document.contents)) document.contents = document.createNode({}) as never;
    document.setIn(key.split('.'), scalarOf(text));
  }
}

/** Numbers and booleans as YAML writes them; everything else is text. */
function scalarOf(text: string): string | number | boolean {
  if (text === 'true' || text === 'false') return text === 'true';
  return /^\d{1,9}$/.test(text) ? Number(text) : text;
}

/** The variable or option that a setting was given by; undefined when it is from the file. */
function sourceOf(place: readonly PropertyKey[], env: Runtime['io']['env'], given: GivenSettings): string | undefined {
  const setting = SETTINGS.find(({ key }) => key === place.map(String).join('.'));
  if (setting === undefined) return undefined;
  if (given[setting.key] !== undefined) return setting.flag;
  return env[setting.env] ? setting.env : undefined;
}

function check(path: string, value: unknown, placeOf: PlaceOf): ConfigFile {
  const parsed = fileSchema.safeParse(value ?? {}, { reportInput: true });
  if (!parsed.success) {
    throw new ConfigError(path, inFileOrder(parsed.error.issues.flatMap((issue) => describeIssue(issue, placeOf))));
  }
  const faults = Object.entries(parsed.data.cameras ?? {}).flatMap(([name, camera]) => cameraFaults(name, camera));
  faults.push(...betweenCameras(parsed.data));
  if (parsed.data.pictures?.folder !== undefined && !isAbsolute(parsed.data.pictures.folder)) {
    faults.push([['pictures', 'folder'], ' must be an absolute path']);
  }
  const shown = faults.map(([place, words]) => `${where(place, placeOf)}${words}`);
  if (shown.length > 0) throw new ConfigError(path, inFileOrder(shown));
  return parsed.data;
}

/** What is wrong between settings: the one that is named, and what follows its name. */
type Fault = readonly [path: readonly string[], words: string];

function cameraFaults(name: string, camera: CameraFile): Fault[] {
  const faults: Fault[] = [];
  const at = (keys: string, words: string) =>
    void faults.push([['cameras', name, ...keys.split('.').filter(Boolean)], words]);
  for (const kind of ['servers', 'relays'] as const) {
    for (const text of camera[kind] ?? []) {
      if (!parseEndpoint(text, 1).ok) at(kind, `: "${text}" is not HOST or HOST:PORT`);
    }
  }
  if (camera['time-zone'] !== undefined && !isTimeZone(camera['time-zone'])) {
    at('time-zone', ' must be a zone such as Europe/Berlin or +02:00');
  }
  const { wake } = camera;
  if (wake !== undefined) {
    if ((wake.every === undefined) === (wake.at === undefined)) {
      at('wake', ' must have either every or at, such as { every: 2 h }');
    }
    if (camera.via !== undefined) {
      at('', ': wake and via exclude each other; the member beside the camera wakes it');
    }
  }
  const { outputs } = camera;
  if (outputs?.['allow-hosts'] !== undefined && outputs.http === undefined) {
    at('outputs.allow-hosts', ' is for http, which is not set');
  }
  return faults;
}

/** What cameras cannot share. */
function betweenCameras({ api, cameras = {} }: ConfigFile): Fault[] {
  const faults: Fault[] = [];
  const taken = new Map<number, string>([[api?.port ?? DEFAULT_API_PORT, 'api.port']]);
  for (const [name, { outputs }] of Object.entries(cameras)) {
    for (const kind of ['rtsp', 'http'] as const) {
      const given = outputs?.[kind];
      const port = given === undefined ? undefined : parseListen(given)?.port;
      if (port === undefined) continue;
      const place = `cameras.${name}.outputs.${kind}`;
      const other = taken.get(port);
      if (other === undefined) taken.set(port, place);
      else faults.push([['cameras', name, 'outputs', kind], `: port ${port} is that of ${other}`]);
    }
  }
  const woken = Object.entries(cameras).filter(([, { wake }]) => wake !== undefined);
  if (woken.length > 1) {
    for (const [name, { wake }] of woken) {
      if (wake?.bluetooth !== undefined) continue;
      faults.push([['cameras', name, 'wake', 'bluetooth'], ' is missing; it tells the cameras apart that are woken']);
    }
  }
  return faults;
}

function isTimeZone(text: string): boolean {
  if (/^[+-](0\d|1[0-4]):?[0-5]\d$/.test(text)) return true;
  try {
    new Intl.DateTimeFormat('en', { timeZone: text });
    return true;
  } catch {
    return false;
  }
}
