import { connect, type Socket } from 'node:net';
import { errorCode } from '@towpath/core';
import { MeshError } from '../mesh-error.ts';
import type { DeviceChange, DeviceControl, WireGuardDevice } from './device.ts';
import { decodeUapiAnswer, encodeUapiSet, MAX_UAPI_BYTES, UAPI_GET } from './uapi.ts';

/** The socket of a userspace WireGuard interface. */
export function uapiSocketPath(interfaceName: string): string {
  return `/var/run/wireguard/${interfaceName}.sock`;
}

/**
 * Configures a userspace WireGuard interface over its UAPI socket. Operations follow each other on one connection, which is
 * made anew when it has ended: the counters are read several times a second. It does not keep the process alive.
 */
export class UapiControl implements DeviceControl {
  readonly #path: string;
  #connection: UapiConnection | undefined;
  /** The operation before; never rejects. */
  #before: Promise<unknown> = Promise.resolve();

  /** @param path of the socket, see {@link uapiSocketPath}. */
  constructor(path: string) {
    this.#path = path;
  }

  async configure(change: DeviceChange, signal?: AbortSignal): Promise<void> {
    await this.#exchange(encodeUapiSet(change), signal);
  }

  read(signal?: AbortSignal): Promise<WireGuardDevice> {
    return this.#exchange(UAPI_GET, signal);
  }

  async #exchange(request: string, signal: AbortSignal | undefined): Promise<WireGuardDevice> {
    const asked = this.#before.then(() => this.#ask(request, signal));
    this.#before = asked.catch(() => {});
    const answer = decodeUapiAnswer(await asked);
    if (answer.ok) return answer.device;
    // WireGuard reads what is left of a refused change as the next operation.
    this.#connection?.close();
    const why = answer.errno === undefined ? answer.reason : `errno ${answer.errno}`;
    throw new MeshError('wireguard-failed', `WireGuard refused a change or gave an unreadable answer (${why}).`, {
      target: this.#path,
    });
  }

  async #ask(request: string, signal: AbortSignal | undefined): Promise<string> {
    signal?.throwIfAborted();
    const used = this.#connection;
    if (used !== undefined && !used.isClosed) {
      const answer = await this.#askOn(used, request, signal).catch((error: unknown) => {
        if (signal?.aborted) throw error;
        return '';
      });
      // The other end may have closed an idle connection; each operation may be repeated.
      if (answer !== '') return answer;
    }
    this.#connection = new UapiConnection(this.#path);
    return this.#askOn(this.#connection, request, signal);
  }

  async #askOn(connection: UapiConnection, request: string, signal: AbortSignal | undefined): Promise<string> {
    try {
      return await connection.ask(request, signal);
    } catch (cause) {
      if (signal?.aborted) throw signal.reason;
      throw new MeshError('wireguard-failed', `WireGuard does not answer on ${this.#path} (${errorCode(cause)}).`, {
        target: this.#path,
        cause,
      });
    }
  }
}

/** One connection to a UAPI socket. */
class UapiConnection {
  readonly #socket: Socket;
  #chunks: Buffer[] = [];
  #size = 0;
  #waiting: PromiseWithResolvers<string> | undefined;

  constructor(path: string) {
    this.#socket = connect(path);
    this.#socket.on('data', (chunk) => this.#take(chunk));
    // 'close' says the rest.
    this.#socket.on('error', () => {});
    this.#socket.once('close', () => {
      if (this.#socket.errored) this.#waiting?.reject(this.#socket.errored);
      else this.#finish();
    });
  }

  /** Nothing can be asked any more. */
  get isClosed(): boolean {
    return !this.#socket.writable;
  }

  close(): void {
    this.#socket.destroy();
  }

  /**
   * One at a time.
   * @returns the answer with the empty line at its end; what there was of it when the connection ended before
   * @throws the system's error; the signal's reason, and the connection is closed
   */
  async ask(request: string, signal: AbortSignal | undefined): Promise<string> {
    const waiting = Promise.withResolvers<string>();
    this.#waiting = waiting;
    const onAbort = () => {
      waiting.reject(signal?.reason);
      this.#socket.destroy();
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#socket.ref();
    this.#socket.write(request);
    try {
      return await waiting.promise;
    } finally {
      signal?.removeEventListener('abort', onAbort);
      this.#waiting = undefined;
      this.#socket.unref();
    }
  }

  #take(chunk: Buffer): void {
    this.#size += chunk.length;
    this.#chunks.push(chunk);
    // The answer ends with an empty line.
    const isWhole = chunk.subarray(-2).toString('latin1') === '\n\n' || endsWithEmptyLine(this.#chunks);
    if (!isWhole && this.#size <= MAX_UAPI_BYTES) return;
    if (!isWhole) this.#socket.destroy();
    this.#finish();
  }

  #finish(): void {
    const text = Buffer.concat(this.#chunks).toString('latin1');
    this.#chunks = [];
    this.#size = 0;
    this.#waiting?.resolve(text);
  }
}

/** For an empty line that two chunks share. */
function endsWithEmptyLine(chunks: readonly Buffer[]): boolean {
  const [last, before] = [chunks.at(-1), chunks.at(-2)];
  return last?.length === 1 && last[0] === 0x0a && before?.at(-1) === 0x0a;
}
