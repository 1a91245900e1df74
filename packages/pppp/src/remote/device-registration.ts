import {
  type Clock,
  errorMessage,
  Events,
  isAbort,
  type Link,
  type Log,
  type Random,
  silentLog,
  type Timer,
} from '@towpath/core';
import { type Endpoint, formatEndpoint, type Network, sameEndpoint } from '@towpath/net';
import type { StreamCipher } from '../cipher/stream-cipher.ts';
import { ResultCode } from '../codec/codes.ts';
import { decodeMessage, encodeMessage, type Message } from '../codec/message.ts';
import { PaidInFullBytes } from '../codec/padding.ts';
import type { DeviceCompanion } from '../device/options.ts';
import type { PpppDevice } from '../device/pppp-device.ts';
import { PpppError } from '../pppp-error.ts';
import type { SessionMode } from '../session-types.ts';
import { isPunchable, ownEndpoint } from './addresses.ts';
import { DevicePuncher } from './device-puncher.ts';
import { DeviceRelay } from './device-relay.ts';
import { natView } from './nat-view.ts';
import { API_VERSION } from './options.ts';
import { RELAY_PORT } from './relay-talk.ts';
import { keepServerLine, type ServerTalk } from './server-line.ts';
import type { TcpLine } from './tcp-line.ts';

/** Relays whose base ports are remembered, for sessions over TCP. */
const MAX_KNOWN_RELAYS = 64;

const DEFAULT_INTERVAL_MS = 30_000;
const DEFAULT_RETRIES_MS: readonly number[] = [1_000, 3_000];
const DEFAULT_TCP_AFTER_MS = 2_000;
const DEFAULT_PORT_GUESS = 3;

export interface DeviceRegistrationOptions {
  device: PpppDevice;
  network: Network;
  clock: Clock;
  random: Random;
  log?: Log;
  /** Rendezvous servers; the device logs in at all of them. */
  servers: readonly Endpoint[];
  /** The device's secret (DSK), at most 20 printable ASCII characters; sent with the login. */
  secret?: string;
  /** Cipher of a keyed network; the device must have its key too. @default plaintext */
  cipher?: StreamCipher;
  /** Time between logins, which also keep the NAT's mapping of the listen socket, in ms. @default 30000 */
  intervalMs?: number;
  /** When an unanswered login is repeated, ms after the first (spec §6.5). @default [1000, 3000] */
  retriesMs?: readonly number[];
  /**
   * How servers and relays are reached. `auto`: by UDP, and by TCP connections to the servers when UDP has brought no
   * answer within `tcpAfterMs`; as soon as UDP is answered again, TCP is given up. @default 'auto'
   */
  transport?: 'udp' | 'tcp' | 'auto';
  /** @default 2000 */
  tcpAfterMs?: number;
  /** Ports next to a client's known one that are punched too; 0…8. @default 3 */
  portGuess?: number;
  /** Local address to leave from. @default the device's */
  localAddress?: string;
}

/** What a registration tells. */
export interface DeviceRegistrationEvents {
  /** A server has accepted a login; every time. */
  login: { server: Endpoint; over: 'udp' | 'tcp' };
  /** A server has refused a login: PpppError `wrong-secret`, `wrong-uid`, `unknown-device`. */
  refused: { server: Endpoint; error: PpppError };
}

/** How a device stands with one server. */
export interface RegistrationStatus {
  readonly server: Endpoint;
  readonly state: 'waiting' | 'online' | 'refused' | 'silent';
  readonly over: 'udp' | 'tcp';
  /** Our address as the server sees it. */
  readonly wan: Endpoint | undefined;
}

interface Registrar {
  readonly endpoint: Endpoint;
  state: RegistrationStatus['state'];
  over: 'udp' | 'tcp';
  wan: Endpoint | undefined;
  /** Over what this round's login was answered; UDP outweighs TCP. */
  answered: 'udp' | 'tcp' | undefined;
  /** The connection that is kept for invitations where UDP does not leave. */
  link: Link<ServerTalk> | undefined;
}

/**
 * Makes a device reachable from everywhere: it logs in at rendezvous servers from its listen socket, punches the clients
 * that ask for it, and comes to the relays that it is invited to (spec §6.3–6.5). Sessions go to the device's `onSession`.
 *
 * @example
 * const device = await PpppDevice.open({ network, clock, uid: 'TEST-000001-BCDEF', onSession });
 * const registration = new DeviceRegistration({ device, network, clock, random, servers });
 */
export class DeviceRegistration implements DeviceCompanion, AsyncDisposable {
  readonly events: Events<DeviceRegistrationEvents> = new Events();
  readonly #options: DeviceRegistrationOptions;
  readonly #log: Log;
  readonly #registrars: readonly Registrar[];
  readonly #puncher: DevicePuncher;
  readonly #relay: DeviceRelay;
  readonly #relayBases: Endpoint[] = [];
  readonly #leave: () => void;
  #round = new AbortController();
  #tcpTimer: Timer | undefined;
  #closing: Promise<void> | undefined;
  #udpHeard = false;

  /** Begins to log in at once. @throws PpppError `bad-argument` without servers; CodecError for a secret that does not fit. */
  constructor(options: DeviceRegistrationOptions) {
    const { device, network, clock, random, servers, portGuess = DEFAULT_PORT_GUESS } = options;
    if (servers.length === 0)
      throw new PpppError('bad-argument', 'No rendezvous server to log in at. Give at least one.');
    this.#options = options;
    this.#log = (options.log ?? silentLog).child('REGISTRATION');
    this.#registrars = servers.map((endpoint) => ({
      endpoint,
      state: 'waiting',
      over: 'udp',
      wan: undefined,
      answered: undefined,
      link: undefined,
    }));
    const { cipher, localAddress } = options;
    this.#puncher = new DevicePuncher({
      device,
      network,
      clock,
      random,
      cipher,
      portGuess,
      nat: () => natView(this.#registrars),
    });
    this.#relay = new DeviceRelay({ device, network, clock, random, log: this.#log, localAddress });
    encodeMessage(this.#login());
    this.#leave = device.accompany(this);
    this.#start();
  }

  get status(): readonly RegistrationStatus[] {
    return this.#registrars.map(({ endpoint, state, over, wan }) => ({ server: endpoint, state, over, wan }));
  }

  /** The network has changed: logs in anew at once. */
  poke(): void {
    if (this.#closing !== undefined) return;
    for (const registrar of this.#registrars) {
      registrar.wan = undefined;
      this.#reopen(registrar, 'the network has changed');
      registrar.link?.poke('the network has changed');
    }
    this.#start();
  }

  /** Stops logging in; the servers forget the device in time. Sessions go on. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** @internal for the device */
  onMessage(message: Message, from: Endpoint, cipher: StreamCipher | undefined): void {
    if (message.type === 'RLY_RDY') {
      if (message.uid === this.#options.device.uid) this.#relay.onReady(from);
      return;
    }
    const registrar = this.#registrars.find(({ endpoint }) => sameEndpoint(endpoint, from));
    if (registrar === undefined) return;
    this.#onUdpHeard();
    if (message.type === 'RLY_TO') {
      const { relay, magic } = message;
      if (relay !== undefined && isPunchable(relay, from)) this.#relay.invite(relay, magic, cipher);
    } else {
      this.#onServerMessage(registrar, message, 'udp');
    }
  }

  /** @internal for the device */
  modeOf(from: Endpoint): SessionMode | undefined {
    return this.#puncher.expects(from) ? 'p2p' : undefined;
  }

  async #close(): Promise<void> {
    this.#leave();
    this.#round.abort();
    this.#tcpTimer?.cancel();
    this.#puncher.close();
    this.#relay.close();
    await this.#closeTcp();
  }

  #start(): void {
    this.#round.abort();
    this.#round = new AbortController();
    for (const registrar of this.#registrars) if (registrar.state !== 'online') registrar.state = 'waiting';
    void this.#run(this.#round.signal);
  }

  /** Logs in for ever: every `intervalMs`, and sooner again where no answer comes. */
  async #run(signal: AbortSignal): Promise<void> {
    const { clock, intervalMs = DEFAULT_INTERVAL_MS, retriesMs = DEFAULT_RETRIES_MS, transport } = this.#options;
    try {
      for (;;) {
        const startedAt = clock.now();
        this.#beginRound();
        for (const registrar of this.#registrars) this.#logInOverTcp(registrar);
        for (const atMs of [0, ...retriesMs]) {
          await clock.sleep(startedAt + atMs - clock.now(), signal);
          if (transport !== 'tcp') for (const registrar of this.#registrars) this.#logIn(registrar);
        }
        await clock.sleep(startedAt + intervalMs - clock.now(), signal);
        for (const registrar of this.#registrars) {
          if (registrar.answered !== undefined) continue;
          registrar.state = 'silent';
          this.#reopen(registrar, 'the server does not answer over it');
        }
      }
    } catch (error) {
      if (!isAbort(error)) this.#log.error('logging in has failed', { error: errorMessage(error) });
    }
  }

  #beginRound(): void {
    const { clock, transport = 'auto', tcpAfterMs = DEFAULT_TCP_AFTER_MS } = this.#options;
    this.#udpHeard = false;
    for (const registrar of this.#registrars) registrar.answered = undefined;
    this.#tcpTimer?.cancel();
    if (transport === 'udp') return;
    if (transport === 'tcp') this.#openTcp();
    else {
      this.#tcpTimer = clock.timer(tcpAfterMs, () => {
        if (!this.#udpHeard) this.#openTcp();
      });
    }
  }

  #logIn({ endpoint, state, over, answered, wan }: Registrar): void {
    // Over TCP it may be online: that says nothing of UDP.
    const greets = state !== 'online' || over === 'tcp' || wan === undefined;
    if (greets) this.#send(encodeMessage({ type: 'HELLO' }, PaidInFullBytes.HELLO), endpoint);
    if (answered !== 'udp') this.#send(encodeMessage(this.#login(), PaidInFullBytes.DEV_LGN), endpoint);
  }

  #login(): Message {
    const { device, network, localAddress, servers, secret } = this.#options;
    const local = ownEndpoint(network, device.listen, localAddress, servers);
    const login = { uid: device.uid, natType: 0, version: API_VERSION, local };
    return secret === undefined ? { type: 'DEV_LGN', ...login } : { type: 'DEV_LGN_DSK', ...login, dsk: secret };
  }

  #send(clear: Uint8Array, to: Endpoint): void {
    const { device, cipher } = this.#options;
    device.sendDatagram(cipher === undefined ? clear : cipher.encipher(clear), to);
  }

  #onServerMessage(registrar: Registrar, message: Message, over: 'udp' | 'tcp'): void {
    switch (message.type) {
      case 'HELLO_ACK':
        if (over === 'udp') registrar.wan = message.address;
        break;
      case 'DEV_LGN_ACK':
        this.#onLogin(registrar, message.result, over);
        break;
      case 'PUNCH_TO':
        if (message.address !== undefined) this.#puncher.punchTo(message.address, registrar.endpoint);
        break;
      case 'LIST_REQ_ACK':
        for (const base of message.relays) this.#onRelay(base);
        break;
      default:
    }
  }

  #onLogin(registrar: Registrar, result: number, over: 'udp' | 'tcp'): void {
    const { endpoint: server } = registrar;
    if (registrar.answered !== 'udp') registrar.answered = over;
    if (result === ResultCode.OK) {
      if (registrar.state !== 'online') this.#log.info(`online at ${formatEndpoint(server)}`, { over });
      registrar.state = 'online';
      registrar.over = over;
      this.events.emit('login', { server, over });
      return;
    }
    const error = this.#refusal(server, result);
    if (registrar.state !== 'refused') this.#log.warn(error.message);
    registrar.state = 'refused';
    this.events.emit('refused', { server, error });
  }

  #refusal(server: Endpoint, result: number): PpppError {
    const { uid: target } = this.#options.device;
    const where = formatEndpoint(server);
    switch (result) {
      case ResultCode.WRONG_KEY:
        return new PpppError('wrong-secret', `${where} does not accept the secret of ${target}. Correct it.`, {
          target,
        });
      case ResultCode.PREFIX_NOT_SERVED:
        return new PpppError('unknown-device', `${where} does not serve ${target}. Name another server.`, { target });
      default:
        return new PpppError('wrong-uid', `${where} refuses ${target} (result ${result}). Check the UID.`, { target });
    }
  }

  #onRelay(base: Endpoint): void {
    if (this.#relayBases.some((known) => sameEndpoint(known, base))) return;
    if (this.#relayBases.length < MAX_KNOWN_RELAYS) this.#relayBases.push(base);
  }

  #onUdpHeard(): void {
    this.#udpHeard = true;
    if (!this.#registrars.some(({ link }) => link !== undefined) || this.#options.transport === 'tcp') return;
    this.#log.info('UDP is answered again: TCP is given up');
    // With a connection its login goes; another by UDP takes its place.
    void this.#closeTcp().then(() => {
      if (this.#closing === undefined) this.#start();
    });
  }

  #openTcp(): void {
    const { network, clock, random, cipher, localAddress } = this.#options;
    for (const registrar of this.#registrars) {
      registrar.link ??= keepServerLine({
        network,
        clock,
        random,
        log: this.#log,
        server: registrar.endpoint,
        localAddress,
        cipher,
        onUp: (line) => this.#greetOverTcp(line),
        onDatagram: (datagram) => this.#onTcpDatagram(registrar, datagram),
      });
    }
  }

  /** Replaces a connection that is probably dead without knowing it. */
  #reopen({ endpoint, link }: Registrar, why: string): void {
    if (link?.path === undefined) return;
    const where = formatEndpoint(endpoint);
    const message = `The connection to ${where} is opened anew: ${why}.`;
    link.reportLoss(link.path, new PpppError('server-unreachable', message, { target: where }));
  }

  async #closeTcp(): Promise<void> {
    const links = this.#registrars.map(({ link }) => link);
    for (const registrar of this.#registrars) registrar.link = undefined;
    await Promise.all(links.map((link) => link?.close()));
  }

  #logInOverTcp({ link }: Registrar): void {
    if (link?.path !== undefined) this.#greetOverTcp(link.path.line);
  }

  #greetOverTcp(line: TcpLine): void {
    line.send(encodeMessage(this.#login()));
    line.send(encodeMessage({ type: 'LIST_REQ1', uid: this.#options.device.uid }));
  }

  #onTcpDatagram(registrar: Registrar, datagram: Uint8Array): void {
    const { cipher } = this.#options;
    const message = decodeMessage(cipher === undefined ? datagram : cipher.decipher(datagram));
    if (message.type === 'unknown' || message.type === 'malformed') return;
    if (message.type !== 'RLY_TO') {
      this.#onServerMessage(registrar, message, 'tcp');
      return;
    }
    const { relay, magic } = message;
    if (relay === undefined || !isPunchable(relay, registrar.endpoint)) return;
    // The invitation names the session port; connections are taken at the base port of the same host.
    const base = this.#relayBases.find(({ address }) => address === relay.address);
    this.#relay.inviteOverTcp(base ?? { address: relay.address, port: RELAY_PORT }, magic, cipher);
  }
}
