import type { Clock } from '@towpath/core';
import { type Endpoint, formatEndpoint, type Network } from '@towpath/net';
import type { StreamCipher } from '../../cipher/stream-cipher.ts';
import { type AttemptPlan, UdpAttempt } from '../../client/udp-attempt.ts';
import { encodeMessage, type Message } from '../../codec/message.ts';
import { PaidInFullBytes } from '../../codec/padding.ts';
import { parseUid } from '../../codec/uid.ts';
import { PpppError } from '../../pppp-error.ts';
import type { PpppSession } from '../../session-types.ts';
import { isPunchable, ownEndpoint } from './addresses.ts';
import { ContestedNotice } from './contested-notice.ts';
import { isGuessable, type NatView, natView } from './nat-view.ts';
import {
  API_VERSION,
  DEFAULT_SERVER_LIMIT_MS,
  type RemoteAttemptOptions,
  type RemoteComponents,
  type RemoteOptions,
} from './options.ts';
import { PunchTargets } from './punch-targets.ts';
import { type Server, RendezvousServers } from './rendezvous-servers.ts';

/** Most addresses from one server: external and LAN address, and a few that changed meanwhile. */
const MAX_TARGETS_PER_SERVER = 8;

/** Most addresses in total, including predicted ports. */
const MAX_PUNCHED = 256;

const DEFAULT_TIMEOUT_MS = 5_000;
const DEFAULT_PORT_GUESS = 3;

/** NAT type that client implementations send in 0x26 (docs/protocol/pppp.md, "Rendezvous messages"). */
const NAT_TYPE = 2;

interface RendezvousAttemptOptions extends RemoteAttemptOptions {
  /** Number of neighbouring ports that are punched too, for a symmetric NAT of the device; 0…8. @default 3 */
  portGuess?: number;
  /** Called with every answer that shows something about this host's NAT. */
  onNat?: (view: NatView) => void;
}

export interface ConnectByRendezvousOptions extends RemoteOptions, RendezvousAttemptOptions {}

/**
 * Reaches a device through its rendezvous servers: both ends learn each other's addresses and punch them at the same
 * time (docs/protocol/pppp.md, "Connecting through a rendezvous"). Two round trips to the server when nothing is lost.
 *
 * @param options `timeoutMs` is 5000 unless given
 * @returns the session, of path kind `p2p`; attach to it at once or later, nothing gets lost.
 * @throws PpppError `server-unreachable`, `not-pppp`, `wrong-uid`, `unknown-device`, `wrong-secret`, `device-offline`, `no-answer`
 *   (the NATs let nothing through), `bad-argument`; CodecError `uid-invalid`, `field-out-of-range` (the secret);
 *   NetError when no socket can be bound; the signal's reason when it aborts.
 */
export async function connectByRendezvous(options: ConnectByRendezvousOptions): Promise<PpppSession> {
  return new RendezvousAttempt(options, options).run();
}

class RendezvousAttempt implements AttemptPlan {
  readonly uid: string;
  readonly target: string;
  readonly ciphers: readonly (StreamCipher | undefined)[];
  readonly family = 4;
  readonly broadcast = false;
  readonly failEarly = false;
  readonly maxPunched: number = MAX_PUNCHED;
  readonly advice = '';
  readonly #network: Network;
  readonly #clock: Clock;
  readonly #options: RendezvousAttemptOptions;
  readonly #attempt: UdpAttempt;
  readonly #servers: RendezvousServers;
  readonly #targets: PunchTargets;
  readonly #named: Map<Server, number> = new Map();
  readonly #contested: ContestedNotice;

  constructor(components: RemoteComponents, options: RendezvousAttemptOptions) {
    const { network, clock, random, log } = components;
    const { servers, serverLimitMs = DEFAULT_SERVER_LIMIT_MS, onContested } = options;
    const { portGuess = DEFAULT_PORT_GUESS, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
    this.uid = parseUid(options.uid);
    this.target = `${this.uid} by rendezvous`;
    this.ciphers = [options.cipher];
    this.#network = network;
    this.#clock = clock;
    this.#options = options;
    this.#contested = new ContestedNotice({ log }, { uid: this.uid, onContested });
    this.#servers = new RendezvousServers(
      { clock, random },
      { uid: this.uid, endpoints: servers, patienceMs: serverLimitMs },
    );
    this.#attempt = new UdpAttempt({ ...components, plan: this }, { ...options, timeoutMs, pathKind: 'p2p' });
    this.#targets = new PunchTargets(
      { random },
      {
        portGuess,
        limit: MAX_TARGETS_PER_SERVER * this.#servers.servers.length,
        guessable: ({ address }) => isGuessable(address, natView(this.#servers.servers), network),
        punch: (to) => this.#attempt.punch(this.uid, to, options.cipher),
      },
    );
  }

  run(): Promise<PpppSession> {
    // A secret that is too long is reported before anything is opened.
    encodeMessage(this.#request(undefined));
    return this.#attempt.run();
  }

  sendProbes(): void {
    const now = this.#now();
    const failure = this.#servers.unreachable(now) ?? this.#servers.refusal(now);
    if (failure !== undefined) {
      this.#attempt.fail(failure);
      return;
    }
    for (const server of this.#servers.servers) if (server.dueAtMs <= now) this.#ask(server, now);
    this.#targets.run(now);
  }

  pauseMs(): number {
    const now = this.#now();
    return Math.max(1, Math.min(this.#servers.nextAt(now), this.#targets.nextAt) - now);
  }

  trusts(): boolean {
    return true;
  }

  get servers(): RendezvousServers {
    return this.#servers;
  }

  onPunched(from: Endpoint): void {
    this.#targets.add(from, this.#now());
  }

  onMessage(message: Message, from: Endpoint): void {
    const server = this.#servers.answering(message, from);
    if (server === undefined) {
      this.onForeign(from);
      return;
    }
    const now = this.#now();
    // The round trip is now known and determines retransmissions.
    if (server.heard(now)) this.#attempt.wake();
    switch (message.type) {
      case 'HELLO_ACK':
        server.wan = message.address;
        this.#options.onNat?.(natView(this.#servers.servers));
        break;
      case 'P2P_REQ_ACK':
        server.result = message.result;
        if (message.contested) this.#contested.tell(server.endpoint);
        this.#attempt.wake();
        break;
      case 'PUNCH_TO':
        if (message.address !== undefined) this.#onPunchTo(server, message.address, now);
        break;
      default:
    }
  }

  onForeign(from: Endpoint): void {
    if (this.#servers.heardForeign(from)) this.#attempt.wake();
  }

  timedOut(): PpppError {
    const { servers } = this.#servers;
    if (!servers.some(({ answered }) => answered)) return this.#servers.noServer();
    const punched = this.#targets.addresses.map(formatEndpoint).join(', ');
    const what =
      punched === ''
        ? `The servers answered, but gave no address of ${this.uid}. Outbound UDP may be blocked there.`
        : `${this.uid} did not answer punches at ${punched}. One of the NATs may not support hole punching.`;
    return new PpppError('no-answer', `${what} Next: use a relay.`, { target: this.uid });
  }

  #ask(server: Server, now: number): void {
    const { cipher, localAddress, servers } = this.#options;
    const { endpoint, padded } = server;
    const request = this.#request(ownEndpoint(this.#network, this.#attempt.local, localAddress, servers));
    if (server.wan === undefined) {
      this.#attempt.send(encodeMessage({ type: 'HELLO' }, padded ? PaidInFullBytes.HELLO : 0), endpoint, cipher);
    }
    this.#attempt.send(encodeMessage(request, padded ? PaidInFullBytes.P2P_REQ : 0), endpoint, cipher);
    server.sent(now);
  }

  #request(local: Endpoint | undefined): Message {
    const { secret } = this.#options;
    const { uid } = this;
    if (secret === undefined) return { type: 'P2P_REQ', uid, local };
    const version = API_VERSION;
    return { type: 'P2P_REQ_DSK', uid, local, natType: NAT_TYPE, version, dsk: secret };
  }

  #onPunchTo(server: Server, address: Endpoint, now: number): void {
    const named = this.#named.get(server) ?? 0;
    if (named >= MAX_TARGETS_PER_SERVER || !isPunchable(address, server.endpoint)) return;
    if (!this.#targets.add(address, now)) return;
    this.#named.set(server, named + 1);
    this.#attempt.wake();
  }

  #now(): number {
    return this.#clock.now();
  }
}
