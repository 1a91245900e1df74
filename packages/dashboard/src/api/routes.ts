/**
 * Every request of the API. The daemon serves them on a Unix socket, where its mode is the permission, and on
 * `127.0.0.1`, where it takes `Authorization: Bearer TOKEN` or the cookie that `POST /v1/session` sets. The link that
 * the daemon prints ends in `#token=TOKEN`: the page sends the token to `POST /v1/session` once, removes it from the
 * address, and everything after that, images and WebSockets too, goes with the cookie.
 *
 * Bodies are JSON. A request that changes something needs `content-type: application/json`, and, when a browser sends it,
 * an `Origin` that is the daemon's own. Parts of paths are URI components.
 */
export const routes = {
  /** Body `{ token }`; 204 and a cookie, or 401. */
  createSession: { method: 'POST', path: '/v1/session' },
  deleteSession: { method: 'DELETE', path: '/v1/session' },
  /** `DaemonStatus` */
  status: { method: 'GET', path: '/v1/status' },
  /** WebSocket of `EventBatch`; `?after=SEQUENCE&run=RUN` continues. */
  events: { method: 'GET', path: '/v1/events' },
  /** `Party[]` */
  parties: { method: 'GET', path: '/v1/parties' },
  /** `Party` */
  party: { method: 'GET', path: '/v1/parties/:party' },
  /** `Peer[]` */
  peers: { method: 'GET', path: '/v1/parties/:party/peers' },
  /** `PeerDetail` */
  peer: { method: 'GET', path: '/v1/parties/:party/peers/:peer' },
  /** One echo through the tunnel: `{ rttMs: number | null }` */
  ping: { method: 'POST', path: '/v1/parties/:party/peers/:peer/ping' },
  /** Begins a new race at once: 202 */
  refreshPeer: { method: 'POST', path: '/v1/parties/:party/peers/:peer/refresh' },
  /** `Invite[]` */
  invites: { method: 'GET', path: '/v1/parties/:party/invites' },
  /** Body `NewInvite`; 201 `IssuedInvite` */
  createInvite: { method: 'POST', path: '/v1/parties/:party/invites' },
  /** 204 */
  revokeInvite: { method: 'DELETE', path: '/v1/parties/:party/invites/:invite' },
  /** `Relay[]` of all parties */
  relays: { method: 'GET', path: '/v1/relays' },
  /** `NetworkCheck` */
  netcheck: { method: 'GET', path: '/v1/netcheck' },
  /** 202 `NetworkCheck` */
  runNetcheck: { method: 'POST', path: '/v1/netcheck' },
  /** `Camera[]` */
  cameras: { method: 'GET', path: '/v1/cameras' },
  /** Body `NewCamera`; 201 `Camera` */
  addCamera: { method: 'POST', path: '/v1/cameras' },
  /** `Camera` */
  camera: { method: 'GET', path: '/v1/cameras/:camera' },
  /** 204; its pictures stay on disk. */
  removeCamera: { method: 'DELETE', path: '/v1/cameras/:camera' },
  /** Lists the card and fetches what is new, now: 202 */
  checkCamera: { method: 'POST', path: '/v1/cameras/:camera/check' },
  /** `MediaDay[]` */
  days: { method: 'GET', path: '/v1/cameras/:camera/days' },
  /** `MediaList`; `?day=2026-05-01&after=NEXT&limit=100` */
  media: { method: 'GET', path: '/v1/cameras/:camera/media' },
  /** JPEG */
  thumbnail: { method: 'GET', path: '/v1/cameras/:camera/media/:media/thumbnail' },
  /** JPEG or MP4, with ranges; `?download` */
  file: { method: 'GET', path: '/v1/cameras/:camera/media/:media/file' },
  /** Body `NewDownload`; 202 `Download` */
  createDownload: { method: 'POST', path: '/v1/cameras/:camera/downloads' },
  /** `Download[]`: those that run, and the last ones */
  downloads: { method: 'GET', path: '/v1/downloads' },
  /** 204 */
  cancelDownload: { method: 'DELETE', path: '/v1/downloads/:download' },
  /** Body `DeleteMedia`; `DeletedMedia` */
  deleteMedia: { method: 'POST', path: '/v1/cameras/:camera/delete' },
  /** WebSocket: a `LiveStart`, binary frames, a `LiveEnd` */
  live: { method: 'GET', path: '/v1/cameras/:camera/live' },
  /** Live video with sound as fragmented MP4, until the reader leaves. */
  liveFile: { method: 'GET', path: '/v1/cameras/:camera/live.mp4' },
  /** `DaemonHealth`; needs no token */
  health: { method: 'GET', path: '/health' },
  /** Prometheus text; `Authorization: Bearer` or the Unix socket */
  metrics: { method: 'GET', path: '/metrics' },
} as const;
export type RouteName = keyof typeof routes;

/** Fills in the parts of a path: `routePath('camera', { camera: 'feeder' })` is `/v1/cameras/feeder`. */
export function routePath(name: RouteName, parts: Readonly<Record<string, string>> = {}): string {
  return routes[name].path.replace(/:([a-z]+)/g, (_all, part: string) => {
    const value = parts[part];
    if (value === undefined) throw new TypeError(`The path of ${name} needs ${part}.`);
    return encodeURIComponent(value);
  });
}

/** Body of `createSession`. */
export interface SessionRequest {
  token: string;
}
