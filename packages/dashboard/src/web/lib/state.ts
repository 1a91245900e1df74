import type { Camera, Download } from '../../api/cameras.ts';
import type { Problem } from '../../api/common.ts';
import type { DaemonEvent } from '../../api/events.ts';
import type { NetworkCheck } from '../../api/network.ts';
import type { Party, Relay } from '../../api/parties.ts';
import type { LatencySample, PathEvent, Peer, PeerDetail } from '../../api/peers.ts';
import type { DaemonStatus } from '../../api/status.ts';
import { Bounded } from './bounded.ts';

/** Readings of the latency that a list shows for each peer: five minutes. */
export const MAX_RECENT_SAMPLES = 60;
/** Readings that a peer's page shows: two hours. */
export const MAX_DETAIL_SAMPLES = 1_440;
export const MAX_DETAIL_EVENTS = 200;
/** Entries of the page's event list. */
export const MAX_LOG_ENTRIES = 500;
export const MAX_NOTICES = 20;
export const MAX_DOWNLOADS = 20;

/** One line of the event list. */
export interface LogEntry {
  readonly id: number;
  readonly atMs: number;
  readonly tone: 'direct' | 'relay' | 'bad' | 'plain';
  readonly subject: string;
  readonly text: string;
  /** Stable code, where there is one. */
  readonly code: string | undefined;
  /** Where a click leads. */
  readonly to: string | undefined;
}

export interface Notice {
  readonly id: number;
  readonly level: 'info' | 'warning' | 'error';
  readonly notice: Problem;
}

/** What the page knows of the daemon. Parts that did not change keep their identity, so that only what changed is drawn. */
export interface PageState {
  readonly daemon: Pick<DaemonStatus, 'program' | 'run' | 'host' | 'startedAt'>;
  readonly problems: readonly Problem[];
  readonly parties: readonly Party[];
  /** By party, then in the order of names. */
  readonly peers: ReadonlyMap<string, readonly Peer[]>;
  readonly recent: ReadonlyMap<string, Bounded<LatencySample>>;
  /** The peer whose page is open. */
  readonly detail: PeerDetail | undefined;
  readonly relays: readonly Relay[] | undefined;
  readonly netcheck: NetworkCheck | undefined;
  readonly cameras: readonly Camera[];
  readonly downloads: readonly Download[];
  readonly notices: readonly Notice[];
  readonly log: Bounded<LogEntry>;
  /** Number of the next log entry or notice. */
  readonly nextId: number;
}

/** What changes the state: events of the daemon, and answers to the page's own requests. */
export type PageAction =
  | { readonly type: 'events'; readonly events: readonly DaemonEvent[]; readonly atMs: number }
  | { readonly type: 'status'; readonly status: DaemonStatus }
  | { readonly type: 'detail'; readonly detail: PeerDetail | undefined }
  | { readonly type: 'relays'; readonly relays: readonly Relay[] }
  | { readonly type: 'netcheck'; readonly check: NetworkCheck }
  | { readonly type: 'downloads'; readonly downloads: readonly Download[] }
  | { readonly type: 'dismiss'; readonly id: number };

/** What happened to pictures, for the gallery that is open: they are too many to be part of the state. */
export type MediaChange = Extract<DaemonEvent, { type: 'media' | 'media-removed' }>;

export function peerKey(party: string, peer: string): string {
  return `${party}/${peer}`;
}

export function initialState(status: DaemonStatus): PageState {
  return {
    ...fromStatus(status),
    recent: new Map(),
    detail: undefined,
    relays: undefined,
    netcheck: undefined,
    downloads: [],
    notices: [],
    log: new Bounded(MAX_LOG_ENTRIES),
    nextId: 1,
  };
}

function fromStatus(status: DaemonStatus): Pick<PageState, 'daemon' | 'problems' | 'parties' | 'peers' | 'cameras'> {
  const { program, run, host, startedAt, problems, cameras } = status;
  return {
    daemon: { program, run, host, startedAt },
    problems,
    parties: status.parties.map(({ peers: _peers, ...party }) => party),
    peers: new Map(status.parties.map(({ id, peers }) => [id, sortPeers(peers)])),
    cameras: [...cameras].sort((a, b) => compareText(a.name, b.name)),
  };
}

/** The next state. Pure: the same state and action give the same result. */
export function reduce(state: PageState, action: PageAction): PageState {
  switch (action.type) {
    case 'events':
      return action.events.reduce((current, event) => applyEvent(current, event, action.atMs), state);
    case 'status':
      return { ...state, ...fromStatus(action.status) };
    case 'detail':
      return { ...state, detail: action.detail };
    case 'relays':
      return { ...state, relays: action.relays };
    case 'netcheck':
      return { ...state, netcheck: action.check };
    case 'downloads':
      return { ...state, downloads: action.downloads.slice(-MAX_DOWNLOADS) };
    case 'dismiss':
      return { ...state, notices: state.notices.filter(({ id }) => id !== action.id) };
    default:
      return action satisfies never;
  }
}

function applyEvent(state: PageState, event: DaemonEvent, atMs: number): PageState {
  switch (event.type) {
    case 'party': {
      const parties = replace(state.parties, event.party, ({ id }) => id === event.party.id);
      const peers = state.peers.has(event.party.id) ? state.peers : new Map(state.peers).set(event.party.id, []);
      return { ...state, parties, peers };
    }
    case 'party-removed': {
      const peers = new Map(state.peers);
      peers.delete(event.party);
      return withoutSamples({ ...state, parties: state.parties.filter(({ id }) => id !== event.party), peers }, (key) =>
        key.startsWith(`${event.party}/`),
      );
    }
    case 'peer':
      return applyPeer(state, event.party, event.peer, atMs);
    case 'peer-removed': {
      const left = (state.peers.get(event.party) ?? []).filter(({ id }) => id !== event.peer);
      const key = peerKey(event.party, event.peer);
      return withoutSamples(
        { ...state, peers: new Map(state.peers).set(event.party, left) },
        (candidate) => candidate === key,
      );
    }
    case 'path':
      return applyPath(state, event.party, event.peer, event.event);
    case 'latency':
      return applyLatency(state, event.party, event.peer, event.sample);
    case 'relays':
      return { ...state, relays: event.relays };
    case 'netcheck':
      return { ...state, netcheck: event.check };
    case 'camera':
      return applyCamera(state, event.camera, atMs);
    case 'camera-removed':
      return withoutCamera(state, event.camera);
    case 'media':
    case 'media-removed':
      return state;
    case 'download':
      return {
        ...state,
        downloads: replace(state.downloads, event.download, ({ id }) => id === event.download.id).slice(-MAX_DOWNLOADS),
      };
    case 'notice':
      return {
        ...state,
        nextId: state.nextId + 1,
        notices: [...state.notices, { id: state.nextId, level: event.level, notice: event.notice }].slice(-MAX_NOTICES),
      };
    default:
      // An event of a newer daemon: a field or type is only ever added.
      event satisfies never;
      return state;
  }
}

function applyPeer(state: PageState, party: string, peer: Peer, atMs: number): PageState {
  const list = state.peers.get(party) ?? [];
  const before = list.find(({ id }) => id === peer.id);
  const next = before === undefined ? sortPeers([...list, peer]) : list.map((one) => (one === before ? peer : one));
  const open = state.detail?.party === party && state.detail.peer.id === peer.id;
  const changed = {
    ...state,
    peers: new Map(state.peers).set(party, next),
    ...(open ? { detail: { ...state.detail!, peer } } : {}),
  };
  const entry = peerEntry(before, peer);
  return entry === undefined ? changed : logged(changed, { ...entry, atMs, to: peerPath(party, peer.id) });
}

type EntryText = Pick<LogEntry, 'tone' | 'subject' | 'text' | 'code'>;

/** What to say about a change of a peer; undefined when only numbers changed. */
function peerEntry(before: Peer | undefined, peer: Peer): EntryText | undefined {
  const subject = peer.name;
  if (before === undefined) return { tone: 'plain', subject, text: 'joined the party', code: undefined };
  if (before.status !== peer.status) {
    const tone = peer.status === 'failed' ? 'bad' : peer.strategy === 'relay' ? 'relay' : 'direct';
    return { tone, subject, text: peer.reason.text, code: peer.reason.code };
  }
  if (before.path?.id !== peer.path?.id && peer.path !== null) {
    const tone = peer.strategy === 'relay' ? 'relay' : 'direct';
    return { tone, subject, text: peer.pathReason.text, code: peer.pathReason.code };
  }
  if (before.online !== peer.online) {
    const text = peer.online ? 'is connected to the control plane' : 'left the control plane';
    return { tone: 'plain', subject, text, code: undefined };
  }
  return undefined;
}

function applyPath(state: PageState, party: string, peer: string, event: PathEvent): PageState {
  const { detail } = state;
  if (detail?.party !== party || detail.peer.id !== peer) return state;
  return { ...state, detail: { ...detail, log: newest([...detail.log, event], MAX_DETAIL_EVENTS) } };
}

function applyLatency(state: PageState, party: string, peer: string, sample: LatencySample): PageState {
  const key = peerKey(party, peer);
  const known = state.recent.get(key) ?? new Bounded<LatencySample>(MAX_RECENT_SAMPLES);
  const recent = new Map(state.recent).set(key, known.with([sample]));
  const { detail } = state;
  if (detail?.party !== party || detail.peer.id !== peer) return { ...state, recent };
  const latency = newest([...detail.latency, sample], MAX_DETAIL_SAMPLES);
  return { ...state, recent, detail: { ...detail, latency } };
}

function applyCamera(state: PageState, camera: Camera, atMs: number): PageState {
  const before = state.cameras.find(({ name }) => name === camera.name);
  const cameras = replace(state.cameras, camera, ({ name }) => name === camera.name);
  const next = {
    ...state,
    problems: withProblemsOf(state.problems, before, camera),
    cameras: before === undefined ? cameras.sort((a, b) => compareText(a.name, b.name)) : cameras,
  };
  if (before?.state === camera.state) return next;
  return logged(next, {
    tone: camera.state === 'connected' ? 'direct' : camera.problem === null ? 'plain' : 'bad',
    subject: camera.name,
    text: camera.problem?.message ?? `camera ${camera.state}`,
    code: camera.problem?.code,
    atMs,
    to: cameraPath(camera.name),
  });
}

function withoutCamera(state: PageState, name: string): PageState {
  const gone = attentionOf(state.cameras.find((camera) => camera.name === name)).map(({ message }) => message);
  return {
    ...state,
    problems: state.problems.filter(({ message }) => !gone.includes(message)),
    cameras: state.cameras.filter((camera) => camera.name !== name),
  };
}

/** The problems of a camera are among those of the daemon, which says nothing of them again when they are over. */
function withProblemsOf(problems: readonly Problem[], before: Camera | undefined, camera: Camera): readonly Problem[] {
  const old = attentionOf(before).map(({ message }) => message);
  const now = attentionOf(camera);
  if (old.join('\n') === now.map(({ message }) => message).join('\n')) return problems;
  return [...problems.filter(({ message }) => !old.includes(message)), ...now];
}

/** As the daemon counts them: a camera that sleeps or is far away needs no attention. */
function attentionOf(camera: Camera | undefined): Problem[] {
  if (camera === undefined) return [];
  const { problem, outputProblems } = camera;
  return [...(problem === null || problem.code === 'not-connected' ? [] : [problem]), ...outputProblems];
}

function logged(state: PageState, entry: Omit<LogEntry, 'id'>): PageState {
  return { ...state, nextId: state.nextId + 1, log: state.log.with([{ ...entry, id: state.nextId }]) };
}

function withoutSamples(state: PageState, gone: (key: string) => boolean): PageState {
  return { ...state, recent: new Map([...state.recent].filter(([key]) => !gone(key))) };
}

/** Puts a thing in the place of the one that matches, or at the end. */
function replace<T>(items: readonly T[], item: T, matches: (one: T) => boolean): T[] {
  const index = items.findIndex(matches);
  return index < 0 ? [...items, item] : items.with(index, item);
}

function newest<T>(items: readonly T[], limit: number): T[] {
  return items.slice(-limit);
}

function sortPeers(peers: readonly Peer[]): Peer[] {
  return [...peers].sort((a, b) => compareText(a.name, b.name) || compareText(a.id, b.id));
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function peerPath(party: string, peer: string): string {
  return `/peers/${encodeURIComponent(party)}/${encodeURIComponent(peer)}`;
}

export function cameraPath(camera: string): string {
  return `/cameras/${encodeURIComponent(camera)}`;
}
