import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { backoff, type Clock, errorMessage, Events, type Log, type Random, silentLog } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import { MeshError } from '../mesh-error.ts';
import type { Ledger } from '../state/ledger.ts';
import { type Commands, commandFailure, runChecked } from './command.ts';
import type { DeviceChange, DeviceControl, PeerChange, WireGuardDevice } from './device.ts';
import { UapiControl, uapiSocketPath } from './uapi-control.ts';
import { WgToolControl } from './wg-tool.ts';

/** What serves the interface: the kernel's module, or a wireguard-go process of ours. */
export type WireGuardBackend = 'kernel' | 'userspace';

export interface WireGuardInterfaceComponents {
  commands: Commands;
  /** Where the interface is recorded before it is made. */
  ledger: Ledger;
  clock: Clock;
  random: Random;
  log?: Log | undefined;
}

export interface WireGuardInterfaceOptions {
  /** See {@link interfaceNameFor}. */
  name: string;
  /** 32 bytes. */
  privateKey: Uint8Array;
  /** Own virtual address, `10.66.3.4`. */
  address: string;
  /** Prefix length of the virtual network. @default 16 */
  prefixLength?: number;
  /** UDP port of WireGuard itself; 0 lets the system choose. @default 0 */
  listenPort?: number;
  /** Path MTU inside the tunnel, bytes. @default 1280, which every path carries */
  mtuBytes?: number;
  /** @default 'auto': the kernel's module when there is one */
  backend?: WireGuardBackend | 'auto' | undefined;
  signal?: AbortSignal | undefined;
}

export const DEFAULT_MTU_BYTES = 1_280;
const DEFAULT_PREFIX_LENGTH = 16;
/** How long wireguard-go may take until it answers. */
const START_TRIES = 60;

export interface WireGuardInterfaceEvents {
  /** The interface, or the process that serves it, is gone and was not closed by us. */
  lost: { message: string };
}

/** One WireGuard interface of this machine (Linux). Everything of it is gone after `close()`. */
export class WireGuardInterface implements AsyncDisposable {
  readonly events: Events<WireGuardInterfaceEvents> = new Events();
  readonly name: string;
  readonly backend: WireGuardBackend;
  readonly #components: WireGuardInterfaceComponents;
  readonly #control: DeviceControl;
  readonly #server: ChildProcess | undefined;
  #listenPort = 0;
  #closing: Promise<void> | undefined;

  private constructor(
    components: WireGuardInterfaceComponents,
    options: { name: string; backend: WireGuardBackend; control: DeviceControl; server: ChildProcess | undefined },
  ) {
    this.#components = components;
    this.name = options.name;
    this.backend = options.backend;
    this.#control = options.control;
    this.#server = options.server;
    this.#server?.once('exit', (code, signal) => {
      if (this.#closing !== undefined) return;
      this.events.emit('lost', { message: `wireguard-go ended (${signal ?? `code ${code}`}).` });
    });
  }

  /**
   * Makes the interface, gives it its key and address, and takes it up. When a step fails, the steps before it are
   * undone.
   * @throws MeshError `platform-unsupported`, `permission-denied`, `program-missing`, `interface-exists`,
   *   `wireguard-failed`, `command-failed`, `disk-failed`; the signal's reason when it aborts.
   */
  static async open(
    components: WireGuardInterfaceComponents,
    options: WireGuardInterfaceOptions,
  ): Promise<WireGuardInterface> {
    requireLinux();
    const { commands, ledger } = components;
    const { name, signal } = options;
    signal?.throwIfAborted();
    const existing = await commands.run('ip', ['link', 'show', 'dev', name], { signal });
    if (existing.code === 0) {
      throw new MeshError(
        'interface-exists',
        `The interface ${name} exists and Towpath has no record of making it. Next: remove it with "ip link delete ${name}".`,
        { target: name },
      );
    }
    ledger.record({ kind: 'interface', name });
    try {
      const made = await WireGuardInterface.#make(components, options);
      await made.#configure(options);
      return made;
    } catch (error) {
      await ledger.undo({ kind: 'interface', name });
      throw error;
    }
  }

  /**
   * Makes an interface without address, and removes it: whether this process may, and has what it needs. Nothing else of
   * the machine is changed.
   * @param options.name one that no interface has
   * @throws MeshError as {@link open}; the signal's reason when it aborts.
   */
  static async rehearse(
    components: WireGuardInterfaceComponents,
    options: Pick<WireGuardInterfaceOptions, 'name' | 'backend' | 'signal'>,
  ): Promise<void> {
    requireLinux();
    options.signal?.throwIfAborted();
    components.ledger.record({ kind: 'interface', name: options.name });
    try {
      const made = await WireGuardInterface.#make(components, options);
      await made.close();
    } catch (error) {
      await components.ledger.undo({ kind: 'interface', name: options.name });
      throw error;
    }
  }

  /** UDP port on which WireGuard listens; not to be told to anybody. */
  get listenPort(): number {
    return this.#listenPort;
  }

  /** Adds a peer, or changes it. @throws MeshError `wireguard-failed`. */
  setPeer(change: PeerChange, signal?: AbortSignal): Promise<void> {
    return this.#control.configure({ peers: [change] }, signal);
  }

  /** Changes several peers in one operation. @throws MeshError `wireguard-failed`. */
  configure(change: Omit<DeviceChange, 'privateKey'>, signal?: AbortSignal): Promise<void> {
    return this.#control.configure(change, signal);
  }

  /** Sets where WireGuard sends a peer's packets; does nothing when the peer was removed. */
  setEndpoint(publicKey: Uint8Array, endpoint: Endpoint, signal?: AbortSignal): Promise<void> {
    return this.#control.configure({ peers: [{ publicKey, updateOnly: true, endpoint }] }, signal);
  }

  removePeer(publicKey: Uint8Array, signal?: AbortSignal): Promise<void> {
    return this.#control.configure({ peers: [{ publicKey, remove: true }] }, signal);
  }

  /** State of the interface and statistics of its peers. @throws MeshError `wireguard-failed`. */
  read(signal?: AbortSignal): Promise<WireGuardDevice> {
    return this.#control.read(signal);
  }

  /** @param mtuBytes of packets inside the tunnel, 576…65535. */
  async setMtu(mtuBytes: number): Promise<void> {
    await runChecked(this.#components.commands, 'ip', ['link', 'set', 'dev', this.name, 'mtu', String(mtuBytes)]);
  }

  /** Removes the interface and ends the process that serves it. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const server = this.#server;
    const ended = server && server.exitCode === null && server.signalCode === null ? once(server, 'exit') : undefined;
    await this.#components.ledger.undo({ kind: 'interface', name: this.name });
    await ended;
  }

  async #configure(options: WireGuardInterfaceOptions): Promise<void> {
    const { commands } = this.#components;
    const { address, prefixLength = DEFAULT_PREFIX_LENGTH, mtuBytes = DEFAULT_MTU_BYTES, signal } = options;
    await this.#control.configure({ privateKey: options.privateKey, listenPort: options.listenPort ?? 0 }, signal);
    // Without this the kernel sends IPv6 router solicitations into the tunnel.
    await commands.run('ip', ['link', 'set', 'dev', this.name, 'addrgenmode', 'none'], { signal });
    const network = `${address}/${prefixLength}`;
    await runChecked(commands, 'ip', ['address', 'add', network, 'broadcast', '+', 'dev', this.name], { signal });
    await runChecked(commands, 'ip', ['link', 'set', 'dev', this.name, 'mtu', String(mtuBytes), 'up'], { signal });
    this.#listenPort = (await this.#control.read(signal)).listenPort;
  }

  static async #make(
    components: WireGuardInterfaceComponents,
    options: Pick<WireGuardInterfaceOptions, 'name' | 'backend' | 'signal'>,
  ): Promise<WireGuardInterface> {
    const { name, backend = 'auto', signal } = options;
    if (backend !== 'userspace') {
      const args = ['link', 'add', 'dev', name, 'type', 'wireguard'];
      const { code, stderr } = await components.commands.run('ip', args, { signal });
      if (code === 0) {
        const control = new WgToolControl(components, name);
        return new WireGuardInterface(components, { name, backend: 'kernel', control, server: undefined });
      }
      const absent = /unknown device type|not supported/i.test(stderr);
      if (!absent || backend === 'kernel') throw commandFailure('ip', args, stderr);
    }
    const server = await startWireGuardGo(components, name, signal);
    const control = new UapiControl(uapiSocketPath(name));
    return new WireGuardInterface(components, { name, backend: 'userspace', control, server });
  }
}

/** @throws MeshError `platform-unsupported` elsewhere than on Linux. */
export function requireLinux(platform: NodeJS.Platform = process.platform): void {
  if (platform === 'linux') return;
  throw new MeshError(
    'platform-unsupported',
    `Towpath makes WireGuard interfaces on Linux only; this system is ${platform}. Next: run it on a Linux machine.`,
  );
}

/** Starts wireguard-go for an interface and waits until it answers. */
async function startWireGuardGo(
  components: WireGuardInterfaceComponents,
  name: string,
  signal: AbortSignal | undefined,
): Promise<ChildProcess> {
  const { clock, random, log = silentLog } = components;
  // In a session of its own, so that Ctrl-C in a terminal does not end it before the peers were told.
  const server = spawn('wireguard-go', ['-f', name], {
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
    env: { ...process.env, LOG_LEVEL: 'error', WG_PROCESS_FOREGROUND: '1' },
  });
  let said = '';
  server.stderr.on('data', (chunk: Buffer) => {
    said = `${said}${chunk}`.slice(-500);
    log.warn('wireguard-go reported an error.', { message: String(chunk).trim().slice(0, 500) });
  });
  const failed = new Promise<MeshError>((resolve) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const missing = cause.code === 'ENOENT';
      resolve(
        missing
          ? new MeshError(
              'program-missing',
              'The kernel has no WireGuard module and wireguard-go is not installed. Next: run "towpath doctor".',
              { target: 'wireguard-go', cause },
            )
          : new MeshError('wireguard-failed', `wireguard-go cannot be started (${errorMessage(cause)}).`, { cause }),
      );
    });
    server.once('exit', () => resolve(startError(said)));
  });
  const control = new UapiControl(uapiSocketPath(name));
  let failure: MeshError | undefined;
  void failed.then((error) => {
    failure = error;
  });
  for (const delayMs of backoff({ baseMs: 5, maxMs: 200, count: START_TRIES, random })) {
    if (failure !== undefined) throw failure;
    try {
      await control.read(signal);
      return server;
    } catch (error) {
      if (signal?.aborted) throw error;
    }
    await clock.sleep(delayMs, signal);
  }
  throw new MeshError('wireguard-failed', 'wireguard-go was started but does not answer.', { target: name });
}

function startError(said: string): MeshError {
  const message = said.replace(/\s+/g, ' ').trim() || 'no message';
  const denied = /operation not permitted|permission denied|no such file or directory.*tun/i.test(message);
  return denied
    ? new MeshError(
        'permission-denied',
        `wireguard-go may not make an interface (${message}). Next: run as root, with /dev/net/tun present.`,
      )
    : new MeshError('wireguard-failed', `wireguard-go ended while it started (${message}).`);
}
