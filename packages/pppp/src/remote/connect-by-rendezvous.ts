import { type Endpoint, formatEndpoint } from '@towpath/net';
import type { StreamCipher } from '../cipher/stream-cipher.ts';
import { type AttemptPlan, UdpAttempt } from '../client/udp-attempt.ts';
import { encodeMessage, type Message } from '../codec/message.ts';
import { PaidInFullBytes } from '../codec/padding.ts';
import { parseUid } from '../codec/uid.ts';
import { PpppError } from '../pppp-error.ts';
import type { PpppSession } from '../session-types.ts';
import { isPunchable, ownEndpoint } from './addresses.ts';
import { isGuessable, type NatView, natView } from './nat-view.ts';
import { API_VERSION, DEFAULT_SERVER_PATIENCE_MS, type RemoteOptions } from './options.ts';
import { PunchTargets } from './punch-targets.ts';
import { type Server, ServerPanel } from './server-panel.ts';

/** Addresses that one server may have us punch: outer and LAN address, and a few that changed meanwhile. */
const MAX_TARGETS_PER_SERVER = 8;

/** All addresses, guessed ports included. */
const MAX_PUNCHED = 256;

const DEFAULT_TIMEOUT_MS = 5_000;
const DEFAULT_PORT_GUESS = 3;

/** What client implementations say of their NAT in 0x26 (spec §5.1). */
const NAT_TYPE = 2;

export interface ConnectByRendezvousOptions extends RemoteOptions {
  /** Ports next to the device's known one that are punched too, for a symmetric NAT on its side; 0…8. @default 3 */
  portGuess?: number;
  /** Called with every answer that tells something of our NAT. */
  onNat?: (view: NatView) => void;
}

/**
 * Reaches a device through its rendezvous servers: both sides learn each other's addresses and punch them at the same time
 * (spec §6.3). Two round trips to the server when nothing is lost.
 *
 * @param options `timeoutMs` is 5000 unless given
 * @returns the session, with mode `p2p`; attach to it at once or later, nothing gets lost.
 * @throws PpppError `server-unreachable`, `wrong-uid`, `unknown-device`, `wrong-secret`, `device-offline`, `no-answer`
 *   (the NATs let nothing through), `bad-argument`; CodecError `uid-invalid`, `field-out-of-range` (the secret);
 *   NetError when no socket can be bound; the signal's reason when it aborts.
 */
export async function connectByRendezvous(options: ConnectByRendezvousOptions): Promise<PpppSession> {
  return new RendezvousAttempt(options).run();
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
  readonly #options: ConnectByRendezvousOptions;
  readonly #attempt: UdpAttempt;
  readonly #panel: ServerPanel;
  readonly #targets: PunchTargets;
  readonly #named: Map<Server, number> = new Map();

  constructor(options: ConnectByRendezvousOptions) {
    const { clock, random, servers, serverPatienceMs = DEFAULT_SERVER_PATIENCE_MS } = options;
    const { portGuess = DEFAULT_PORT_GUESS, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
    this.uid = parseUid(options.uid);
    this.target = `${this.uid} by rendezvous`;
    this.ciphers = [options.cipher];
    this.#options = options;
    this.#panel = new ServerPanel(this.uid, servers, random, clock.now(), serverPatienceMs);
    this.#attempt = new UdpAttempt({ ...options, timeoutMs, mode: 'p2p' }, this);
    this.#targets = new PunchTargets({
      random,
      portGuess,
      limit: MAX_TARGETS_PER_SERVER * this.#panel.servers.length,
      guessable: ({ address }) => isGuessable(address, natView(this.#panel.servers), options.network),
      punch: (to) => this.#attempt.punch(this.uid, to, options.cipher),
    });
  }

  run(): Promise<PpppSession> {
    // A secret that does not fit is found before anything is opened.
    encodeMessage(this.#request(undefined));
    return this.#attempt.run();
  }

  knock(): void {
    const now = this.#now();
    const failure = this.#panel.unreachable(now) ?? this.#panel.refusal(now);
    if (failure !== undefined) {
      this.#attempt.fail(failure);
      return;
    }
    for (const server of this.#panel.servers) if (server.nextAt <= now) this.#ask(server, now);
    this.#targets.run(now);
  }

  pauseMs(): number {
    const now = this.#now();
    return Math.max(1, Math.min(this.#panel.nextAt(now), this.#targets.nextAt) - now);
  }

  trusts(): boolean {
    return true;
  }

  onPunched(from: Endpoint): void {
    this.#targets.add(from, this.#now());
  }

  onMessage(message: Message, from: Endpoint): void {
    const server = this.#panel.find(from);
    if (server === undefined) return;
    const now = this.#now();
    // Now the round trip is known: what was lost is repeated accordingly.
    if (server.answered(now)) this.#attempt.hurry();
    switch (message.type) {
      case 'HELLO_ACK':
        server.wan = message.address;
        this.#options.onNat?.(natView(this.#panel.servers));
        break;
      case 'P2P_REQ_ACK':
        server.result = message.result;
        this.#attempt.hurry();
        break;
      case 'PUNCH_TO':
        if (message.address !== undefined) this.#onPunchTo(server, message.address, now);
        break;
      default:
    }
  }

  timedOut(): PpppError {
    const { servers } = this.#panel;
    if (!servers.some(({ heard }) => heard)) return this.#panel.silence();
    const punched = this.#targets.addresses.map(formatEndpoint).join(', ');
    const what =
      punched === ''
        ? `The servers answered, but named no address of ${this.uid}. Is it behind a firewall that lets only TCP out?`
        : `${this.uid} was punched at ${punched} and did not answer. Its NAT, or ours, may not let punches through.`;
    return new PpppError('no-answer', `${what} Use a relay.`, { target: this.uid });
  }

  #ask(server: Server, now: number): void {
    const { cipher, network, localAddress, servers } = this.#options;
    const { endpoint, padded } = server;
    const request = this.#request(ownEndpoint(network, this.#attempt.local, localAddress, servers));
    if (server.wan === undefined) {
      this.#attempt.send(encodeMessage({ type: 'HELLO' }, padded ? PaidInFullBytes.HELLO : 0), endpoint, cipher);
    }
    this.#attempt.send(encodeMessage(request, padded ? PaidInFullBytes.P2P_REQ : 0), endpoint, cipher);
    server.asked(now);
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
    this.#attempt.hurry();
  }

  #now(): number {
    return this.#options.clock.now();
  }
}
