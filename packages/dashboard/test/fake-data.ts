import type {
  Camera,
  DaemonStatus,
  Invite,
  LatencySample,
  MediaDay,
  MediaItem,
  NetworkReport,
  PathEvent,
  PathKind,
  PathSpan,
  Peer,
  PeerDetail,
  Race,
  RaceAttempt,
  Relay,
} from '@towpath/dashboard/api';

/** The moment at which the made-up daemon is asked, unless a test gives another one. */
export const FAKE_NOW: number = Date.parse('2026-05-14T16:42:00Z');
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export interface FakeSize {
  /** @default 12 */
  peers?: number;
  /** Pictures of the first camera. @default 420 */
  pictures?: number;
  nowMs?: number;
}

/** Numbers from 0 to 1 that depend on nothing but their seed (mulberry32). */
export function fakeRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const iso = (atMs: number): string => new Date(atMs).toISOString();

const REASONS = {
  echoAnswered: { code: 'echo-answered', text: 'Echoes through the tunnel are answered within 200 ms.' },
  echoSlow: { code: 'echo-slow', text: 'Echoes through the tunnel take 200 ms or more.' },
  echoLost: { code: 'echo-lost', text: 'Echoes through the tunnel are not answered.' },
  peerOffline: { code: 'peer-offline', text: 'The peer is not connected to the control plane.' },
  reconnectFailed: { code: 'reconnect-failed', text: 'Three attempts to reconnect had no answer.' },
  first: { code: 'first', text: 'The first verified path.' },
  direct: { code: 'direct', text: 'A direct path replaced a relayed one.' },
  faster: { code: 'faster', text: 'A path that is faster by more than the hysteresis.' },
  probesLost: { code: 'probes-lost', text: 'The previous path did not answer its probes.' },
  networkChanged: { code: 'network-changed', text: 'An interface, an address or the default route changed.' },
  noPath: { code: 'no-path', text: 'There is no path to the peer.' },
  spliced: { code: 'spliced', text: 'The kernel carries the packets of a direct path.' },
  notPlain: { code: 'path-not-plain', text: 'The path uses a TURN channel or TCP, which the splice cannot carry.' },
} as const;

const PARTY = 'p7f3c2a9e51d04b8';
export const FAKE_PARTY: string = PARTY;

type Reached = 'lan' | 'p2p' | 'relay' | 'slow' | 'offline' | 'failed';
const FIRST_PEERS: readonly (readonly [name: string, reached: Reached, latencyMs: number])[] = [
  ['attic-nas', 'lan', 0.6],
  ['anna-laptop', 'p2p', 18],
  ['boathouse', 'relay', 74],
  ['field-gateway', 'p2p', 41],
  ['granny-tablet', 'p2p', 23],
  ['jonas-phone', 'relay', 96],
  ['kitchen-pi', 'lan', 1.2],
  ['lisbon-office', 'p2p', 58],
  ['mountain-hut', 'slow', 312],
  ['studio', 'p2p', 9.4],
  ['van', 'offline', 0],
  ['workshop', 'lan', 2.1],
];
const WORDS = ['alder', 'birch', 'cedar', 'elm', 'fir', 'hazel', 'larch', 'maple', 'oak', 'pine', 'rowan', 'willow'];

/** Everything that the made-up daemon answers with. The same size and time give the same data. */
export class FakeData {
  readonly nowMs: number;
  readonly peers: Peer[];
  readonly cameras: Camera[];
  readonly relays: Relay[];
  readonly invites: Invite[];
  readonly report: NetworkReport;
  readonly media: Map<string, MediaItem[]>;

  constructor({ peers = FIRST_PEERS.length, pictures = 420, nowMs = FAKE_NOW }: FakeSize = {}) {
    this.nowMs = nowMs;
    this.peers = Array.from({ length: peers }, (_one, index) => makePeer(index, nowMs));
    this.media = new Map([
      ['feeder', makeMedia(pictures, 11, nowMs)],
      ['north-gate', makeMedia(86, 12, nowMs)],
      ['pond', makeMedia(0, 13, nowMs)],
    ]);
    this.cameras = makeCameras(this.media, nowMs);
    this.relays = makeRelays(this.peers);
    this.invites = makeInvites(nowMs);
    this.report = makeReport(nowMs);
  }

  status(sequence: number, run: string): DaemonStatus {
    const { nowMs, peers, cameras } = this;
    return {
      version: 1,
      program: '0.1.0',
      run,
      sequence,
      host: 'study',
      startedAt: iso(nowMs - 6 * DAY - 3 * HOUR),
      parties: [
        {
          id: PARTY,
          name: 'Lakeside',
          state: 'up',
          problem: null,
          servers: ['https://party.example.org'],
          connected: true,
          address: '10.66.18.4',
          interface: { name: 'towpath0', backend: 'kernel', splice: true },
          members: [
            {
              id: 'self',
              name: 'study',
              role: 'founder',
              address: '10.66.18.4',
              joinedAt: iso(nowMs - 90 * DAY),
              self: true,
              online: true,
            },
            ...peers.map(({ id, name, address, online }) => ({
              id,
              name,
              role: 'member',
              address,
              joinedAt: iso(nowMs - 60 * DAY),
              self: false,
              online,
            })),
          ],
          offers: [],
          accepts: [{ peer: 'field-gateway', network: '192.168.40.0/24' }],
          peers,
        },
      ],
      cameras,
      problems: [],
    };
  }

  detail(peerId: string): PeerDetail | undefined {
    const index = this.peers.findIndex(({ id }) => id === peerId);
    const peer = this.peers[index];
    return peer === undefined ? undefined : makeDetail(peer, index, this.nowMs);
  }

  days(camera: string): MediaDay[] {
    const days = new Map<string, MediaDay>();
    for (const { day, kind } of this.media.get(camera) ?? []) {
      const known = days.get(day) ?? { day, photos: 0, videos: 0 };
      if (kind === 'photo') known.photos++;
      else known.videos++;
      days.set(day, known);
    }
    return [...days.values()];
  }
}

function makePeer(index: number, nowMs: number): Peer {
  const random = fakeRandom(1_000 + index);
  const [name, reached, latencyMs] = FIRST_PEERS[index] ?? extraPeer(index, random);
  const relayed = reached === 'relay' || reached === 'slow';
  const none = reached === 'offline' || reached === 'failed';
  const kind: PathKind = reached === 'lan' ? 'lan' : relayed ? 'relay' : 'p2p';
  const host = 20 + (index % 200);
  const endpoint = reached === 'lan' ? `192.168.1.${host}:40000` : `203.0.113.${host}:${40_000 + index * 7}`;
  const relay = reached === 'slow' ? 'relay-far' : 'relay-near';
  const sinceMs = nowMs - Math.round(random() * 30 * HOUR) - 4 * MINUTE;
  return {
    id: `peer-${String(index).padStart(3, '0')}`,
    name,
    address: `10.66.${20 + Math.floor(index / 200)}.${2 + (index % 200)}`,
    online: reached !== 'offline',
    status: none ? 'failed' : reached === 'slow' ? 'degraded' : 'connected',
    reason:
      reached === 'offline'
        ? REASONS.peerOffline
        : reached === 'failed'
          ? REASONS.reconnectFailed
          : reached === 'slow'
            ? REASONS.echoSlow
            : REASONS.echoAnswered,
    strategy: none ? null : relayed ? 'relay' : 'direct',
    path: none
      ? null
      : {
          id: `path-${index}`,
          kind,
          endpoint: relayed ? '198.51.100.7:3478' : endpoint,
          relay: relayed ? relay : null,
          since: iso(sinceMs),
        },
    pathReason: none ? REASONS.noPath : relayed ? REASONS.first : index % 3 === 0 ? REASONS.first : REASONS.direct,
    dataPlane: kind === 'relay' || none ? 'hop' : 'splice',
    dataPlaneReason: none ? REASONS.noPath : kind === 'relay' ? REASONS.notPlain : REASONS.spliced,
    latencyMs: none ? null : latencyMs,
    lossRatio: reached === 'slow' ? 0.02 : 0,
    mtuBytes: relayed ? 1_280 : 1_420,
    receivedBytes: Math.round(random() * 4e9),
    sentBytes: Math.round(random() * 9e8),
    connectedAt: none ? null : iso(sinceMs - HOUR),
    lastHandshakeAt: none ? iso(nowMs - 9 * HOUR) : iso(nowMs - Math.round(random() * 100_000)),
  };
}

function extraPeer(index: number, random: () => number): readonly [string, Reached, number] {
  const name = `${WORDS[index % WORDS.length]}-${String(index).padStart(3, '0')}`;
  const share = random();
  if (share < 0.06) return [name, 'offline', 0];
  if (share < 0.08) return [name, 'failed', 0];
  if (share < 0.2) return [name, 'relay', 60 + random() * 90];
  if (share < 0.3) return [name, 'lan', 0.4 + random() * 3];
  return [name, 'p2p', 6 + random() * 140];
}

function makeDetail(peer: Peer, index: number, nowMs: number): PeerDetail {
  const random = fakeRandom(77 + index);
  const timeline = makeTimeline(peer, nowMs);
  const latency: LatencySample[] = [];
  let drift = 0;
  for (let atMs = nowMs - 2 * HOUR; atMs <= nowMs; atMs += 5_000) {
    const span = timeline.find(({ fromMs, toMs }) => fromMs <= atMs && (toMs === null || atMs < toMs));
    drift = drift * 0.96 + (random() - 0.5) * 0.12;
    const base = span?.kind === peer.path?.kind ? (peer.latencyMs ?? 40) : 84;
    const spike = random() < 0.006 ? 1.6 + random() : 1;
    const rttMs = span === undefined || span.kind === null ? null : base * (1 + drift + random() * 0.06) * spike;
    latency.push({ atMs, rttMs: rttMs === null ? null : Math.round(rttMs * 100) / 100, kind: span?.kind ?? null });
  }
  const verdict = peer.strategy === 'direct' ? 'direct' : peer.strategy === 'relay' ? 'relayed' : 'unreachable';
  return {
    party: PARTY,
    peer,
    why: makeWhy(peer, verdict),
    paths: makePaths(peer),
    log: makeLog(peer, nowMs),
    races: [makeRace(peer, nowMs)],
    latency,
    timeline,
  };
}

function makeWhy(peer: Peer, verdict: PeerDetail['why']['verdict']): PeerDetail['why'] {
  if (verdict === 'direct') {
    return {
      verdict,
      reason: peer.pathReason,
      summary:
        peer.path?.kind === 'lan'
          ? 'Both machines are in one local network and talk to each other there.'
          : 'Both NATs use one external port for all destinations, so packets pass both ways.',
      details: ['The kernel carries the packets: the daemon touches none of them.', 'A relay is kept as standby.'],
      next: [],
    };
  }
  if (verdict === 'relayed') {
    return {
      verdict,
      reason: { code: 'nat-symmetric', text: 'Both NATs assign a different port for each destination.' },
      summary: `Your NAT and that of ${peer.name} both assign a new external port for each destination, so neither side can tell the other where to send to.`,
      details: [
        '12 direct addresses were tried, the last time 4 minutes ago; none answered.',
        'Only the encrypted packets pass the relay.',
      ],
      next: [
        'Enable UPnP, NAT-PMP or PCP on one of the two routers.',
        'Or forward UDP port 40000 to one of the two machines.',
        'Or use IPv6 on both sides.',
      ],
    };
  }
  return {
    verdict,
    reason: peer.reason,
    summary: `${peer.name} has not been connected to the control plane for 9 hours.`,
    details: ['Its last known addresses are tried every minute.'],
    next: [`Check that ${peer.name} is switched on and that towpath up runs there.`],
  };
}

function makePaths(peer: Peer): PeerDetail['paths'] {
  if (peer.path === null) return [];
  const current = {
    id: peer.path.id,
    kind: peer.path.kind,
    to: peer.path.endpoint,
    role: 'current',
    health: 'good',
    rttMs: peer.latencyMs,
    lossRatio: peer.lossRatio,
  } as const;
  const standby = {
    id: 'standby',
    kind: 'relay',
    to: 'relay-near, 198.51.100.7:3478',
    role: 'standby',
    health: 'good',
    rttMs: 71,
    lossRatio: 0,
  } as const;
  return peer.path.kind === 'relay' ? [current] : [current, standby];
}

function makeTimeline(peer: Peer, nowMs: number): PathSpan[] {
  const start = nowMs - 2 * HOUR;
  const relay = { kind: 'relay', label: 'relay-near', reason: REASONS.first } as const;
  if (peer.path === null) {
    return [
      { fromMs: start, toMs: nowMs - 50 * MINUTE, ...relay },
      { fromMs: nowMs - 50 * MINUTE, toMs: null, kind: null, label: 'no path', reason: REASONS.echoLost },
    ];
  }
  const { kind, endpoint } = peer.path;
  if (kind === 'relay') {
    return [
      { fromMs: start, toMs: nowMs - 64 * MINUTE, kind: 'p2p', label: '203.0.113.9:41641', reason: REASONS.direct },
      { fromMs: nowMs - 64 * MINUTE, toMs: null, kind, label: peer.path.relay ?? endpoint, reason: REASONS.probesLost },
    ];
  }
  return [
    { fromMs: start, toMs: nowMs - 83 * MINUTE, kind, label: endpoint, reason: REASONS.first },
    {
      fromMs: nowMs - 83 * MINUTE,
      toMs: nowMs - 81 * MINUTE,
      kind: null,
      label: 'no path',
      reason: REASONS.networkChanged,
    },
    { fromMs: nowMs - 81 * MINUTE, toMs: nowMs - 78 * MINUTE, ...relay },
    { fromMs: nowMs - 78 * MINUTE, toMs: null, kind, label: endpoint, reason: REASONS.direct },
  ];
}

function makeLog(peer: Peer, nowMs: number): PathEvent[] {
  const at = (minutes: number) => iso(nowMs - minutes * MINUTE);
  const endpoint = peer.path?.endpoint ?? '203.0.113.9:41641';
  return [
    { at: at(83), what: 'refresh', label: peer.name, reason: REASONS.networkChanged },
    { at: at(82), what: 'attempt', label: `p2p ${endpoint}`, reason: REASONS.networkChanged },
    { at: at(82), what: 'failure', label: 'p2p [2001:db8:4::9]:40000', reason: REASONS.probesLost },
    { at: at(81), what: 'success', label: 'relay relay-near', reason: REASONS.first },
    { at: at(81), what: 'switch', label: 'relay relay-near', reason: REASONS.first },
    { at: at(79), what: 'success', label: `p2p ${endpoint}`, reason: REASONS.direct },
    ...(peer.strategy === 'direct'
      ? ([
          { at: at(78), what: 'switch', label: `p2p ${endpoint}`, reason: REASONS.direct },
          { at: at(78), what: 'standby', label: 'relay relay-near', reason: REASONS.direct },
        ] as const)
      : []),
  ];
}

function makeRace(peer: Peer, nowMs: number): Race {
  const direct = peer.strategy === 'direct';
  const lan = peer.path?.kind === 'lan';
  const endpoint = peer.path?.endpoint ?? '203.0.113.9:41641';
  const attempt = (
    id: string,
    kind: PathKind,
    label: string,
    state: RaceAttempt['state'],
    startedMs: number,
    endedMs: number,
    reason: string | null = null,
  ): RaceAttempt => ({ id, kind, label, state, startedMs, endedMs, reason });
  const won: RaceAttempt['state'] = 'success';
  return {
    startedAt: iso(nowMs - 81 * MINUTE),
    elapsedMs: lan ? 48 : direct ? 412 : 1_460,
    running: false,
    winner: lan ? 'a1' : direct ? 'a3' : 'a5',
    attempts: [
      attempt(
        'a1',
        'lan',
        lan ? endpoint : '192.168.0.31:40000',
        lan ? won : 'failed',
        0,
        lan ? 48 : 300,
        lan ? null : 'no-answer',
      ),
      attempt(
        'a2',
        'p2p',
        '[2001:db8:4::9]:40000',
        lan ? 'cancelled' : 'failed',
        20,
        lan ? 48 : 340,
        lan ? null : 'network-unreachable',
      ),
      attempt(
        'a3',
        'p2p',
        direct && !lan ? endpoint : '203.0.113.9:41641',
        direct && !lan ? won : lan ? 'cancelled' : 'failed',
        40,
        lan ? 48 : direct ? 412 : 1_250,
        direct || lan ? null : 'no-answer',
      ),
      attempt(
        'a4',
        'p2p',
        '203.0.113.9:41642',
        direct ? 'cancelled' : 'failed',
        lan ? 44 : 250,
        lan ? 48 : direct ? 412 : 1_250,
        direct ? null : 'no-answer',
      ),
      attempt(
        'a5',
        'relay',
        'relay-near, UDP',
        direct ? 'cancelled' : won,
        lan ? 44 : 300,
        lan ? 48 : direct ? 412 : 1_460,
      ),
      attempt(
        'a6',
        'relay',
        'relay-far, TLS',
        'cancelled',
        lan ? 46 : direct ? 400 : 700,
        lan ? 48 : direct ? 412 : 1_460,
      ),
    ],
  };
}

function makeMedia(count: number, seed: number, nowMs: number): MediaItem[] {
  const random = fakeRandom(seed);
  const items: MediaItem[] = [];
  let atMs = nowMs - 25 * MINUTE;
  for (let index = 0; index < count; index++) {
    const number = count - index;
    const id = `${100 + Math.floor(number / 999)}-${String(number % 999).padStart(4, '0')}`;
    const kind = random() < 0.12 ? 'video' : 'photo';
    const saved = index > 3;
    const takenAt = `${iso(atMs + 2 * HOUR).slice(0, 19)}+02:00`;
    items.push({
      id,
      kind,
      name: id.replace('-', '/'),
      takenAt,
      day: takenAt.slice(0, 10),
      durationMs: kind === 'video' ? 10_000 : 0,
      bytes: saved ? Math.round((kind === 'video' ? 3.1e6 : 2.4e5) * (0.8 + random() * 0.4)) : null,
      onCard: index < 300,
      saved,
      thumbnailUrl: `/v1/cameras/CAMERA/media/${id}/thumbnail`,
      fileUrl: saved ? `/v1/cameras/CAMERA/media/${id}/file` : null,
    });
    atMs -= random() < 0.72 ? Math.round(random() * 9 * MINUTE) : Math.round(random() * 3.1 * HOUR);
  }
  return items;
}

function makeCameras(media: Map<string, MediaItem[]>, nowMs: number): Camera[] {
  const cameras: Camera[] = [
    {
      name: 'feeder',
      target: '192.168.40.12',
      via: 'field-gateway',
      state: 'connected',
      since: iso(nowMs - 3 * HOUR - 12 * MINUTE),
      problem: null,
      outputProblems: [],
      nextTryAt: null,
      path: { kind: 'lan', endpoint: '192.168.40.12:40611', rttMs: 46 },
      race: null,
      device: {
        id: 'EF:EA:AD:11:22:33',
        model: 'KJK230',
        firmware: '1.4.22',
        at: iso(nowMs - 30_000),
        battery: { percent: 78, charging: true },
        card: { totalMb: 30_420, freeMb: 21_870, error: false },
        temperature: 14,
        signalDbm: -61,
      },
      pictures: { onCard: 0, saved: 0, missing: 4, bytes: 0, newestAt: null, checkedAt: iso(nowMs - 2 * MINUTE) },
      retention: { keepDays: 90, keepBytes: 20e9, deleteFromCard: 'when-safe' },
    },
    {
      name: 'north-gate',
      target: 'TPTH-004213-KXWZQ',
      via: null,
      state: 'waiting',
      since: iso(nowMs - 26 * MINUTE),
      problem: {
        code: 'no-path',
        message:
          'The camera did not answer on its 6 ports, and no relay reached it. Next: check its battery, or move it closer to the router.',
        at: iso(nowMs - 26 * MINUTE),
      },
      outputProblems: [],
      nextTryAt: iso(nowMs + 4 * MINUTE),
      path: null,
      race: null,
      device: {
        id: 'EF:EA:AD:44:55:66',
        model: 'KJK230',
        firmware: '1.4.19',
        at: iso(nowMs - 27 * MINUTE),
        battery: { percent: 9, charging: false },
        card: { totalMb: 14_910, freeMb: 640, error: false },
        temperature: 11,
        signalDbm: -84,
      },
      pictures: { onCard: 86, saved: 82, missing: 4, bytes: 0, newestAt: null, checkedAt: iso(nowMs - 27 * MINUTE) },
      retention: { keepDays: 30, keepBytes: null, deleteFromCard: 'never' },
    },
    {
      name: 'pond',
      target: '192.168.1.77',
      via: null,
      state: 'connecting',
      since: iso(nowMs - 4_000),
      problem: null,
      outputProblems: [],
      nextTryAt: null,
      path: null,
      race: null,
      device: null,
      pictures: { onCard: null, saved: 0, missing: null, bytes: 0, newestAt: null, checkedAt: null },
      retention: { keepDays: null, keepBytes: null, deleteFromCard: 'never' },
    },
  ];
  for (const camera of cameras) {
    const items = media.get(camera.name) ?? [];
    for (const item of items) {
      item.thumbnailUrl = item.thumbnailUrl.replace('CAMERA', camera.name);
      item.fileUrl = item.fileUrl?.replace('CAMERA', camera.name) ?? null;
    }
    if (items.length === 0) continue;
    const saved = items.filter((item) => item.saved);
    camera.pictures.onCard = items.filter((item) => item.onCard).length;
    camera.pictures.saved = saved.length;
    camera.pictures.bytes = saved.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0);
    camera.pictures.newestAt = items[0]?.takenAt ?? null;
  }
  return cameras;
}

function makeRelays(peers: readonly Peer[]): Relay[] {
  const through = (relay: string) => peers.filter(({ path }) => path?.relay === relay).map(({ name }) => name);
  return [
    {
      id: 'relay-near',
      party: PARTY,
      urls: ['turn:relay.example.org:3478?transport=udp', 'turns:relay.example.org:5349'],
      region: 'Frankfurt',
      load: 0.18,
      healthy: true,
      peers: through('relay-near'),
    },
    {
      id: 'relay-far',
      party: PARTY,
      urls: ['turn:198.51.100.90:3478?transport=udp'],
      region: 'Virginia',
      load: 0.72,
      healthy: true,
      peers: through('relay-far'),
    },
    {
      id: 'relay-spare',
      party: PARTY,
      urls: ['turn:203.0.113.200:3478?transport=udp'],
      region: 'Helsinki',
      load: 0,
      healthy: false,
      peers: [],
    },
  ];
}

function makeInvites(nowMs: number): Invite[] {
  return [
    { id: 'inv-3', state: 'open', role: 'member', issuer: 'study', uses: 1, maxUses: 5, expires: iso(nowMs + 5 * DAY) },
    {
      id: 'inv-2',
      state: 'used up',
      role: 'member',
      issuer: 'study',
      uses: 1,
      maxUses: 1,
      expires: iso(nowMs + 2 * DAY),
    },
    {
      id: 'inv-1',
      state: 'expired',
      role: 'admin',
      issuer: 'anna-laptop',
      uses: 0,
      maxUses: 1,
      expires: iso(nowMs - 4 * DAY),
    },
  ];
}

function makeReport(nowMs: number): NetworkReport {
  return {
    at: iso(nowMs - 14 * MINUTE),
    transport: 'udp',
    kind: 'port-restricted cone',
    meaning: 'Direct connections work with most networks; peers behind a symmetric NAT with random ports use a relay.',
    ipv4: {
      reachable: true,
      external: '198.51.100.24:51344',
      mapping: 'endpoint-independent',
      filtering: 'address-and-port-dependent',
      why: 'Servers answer over IPv4.',
    },
    ipv6: {
      reachable: false,
      external: null,
      mapping: null,
      filtering: null,
      why: 'This machine has no global IPv6 address.',
    },
    addresses: [
      { interface: 'enp3s0', address: '192.168.1.10', prefixLength: 24 },
      { interface: 'towpath0', address: '10.66.18.4', prefixLength: 16 },
    ],
    gateway: '192.168.1.1',
    carrierNat: false,
    reachability: [
      { peer: 'no NAT', reachability: 'direct' },
      { peer: 'full cone', reachability: 'direct' },
      { peer: 'address-restricted cone', reachability: 'direct' },
      { peer: 'port-restricted cone', reachability: 'direct' },
      { peer: 'symmetric, ports in sequence', reachability: 'port-prediction' },
      { peer: 'symmetric, random ports', reachability: 'birthday-attack' },
      { peer: 'UDP blocked', reachability: 'relay' },
    ],
    servers: [
      {
        role: 'stun',
        host: 'stun.example.org',
        port: 3478,
        transports: [
          { transport: 'udp', family: 4, endpoint: '198.51.100.7:3478', rttMs: 21.4, problem: null },
          { transport: 'tcp', family: 4, endpoint: '198.51.100.7:3478', rttMs: 23.1, problem: null },
        ],
        problem: null,
      },
      {
        role: 'relay',
        host: 'relay.example.org',
        port: 3478,
        transports: [
          { transport: 'udp', family: 4, endpoint: '198.51.100.90:3478', rttMs: 28.9, problem: null },
          {
            transport: 'tls',
            family: 4,
            endpoint: '198.51.100.90:5349',
            rttMs: null,
            problem: { code: 'timeout', message: 'No answer within 2 s.' },
          },
        ],
        problem: null,
      },
    ],
    portMapping: ['nat-pmp', 'upnp'],
    portal: 'open',
    elapsedMs: 1_320,
    text: [
      {
        title: 'NAT',
        lines: [
          'All destinations see one external port.',
          'Only endpoints that were sent to can send back.',
          'Two machines behind this router reach each other by external addresses (hairpinning).',
        ],
      },
    ],
  };
}
