import { connect } from 'node:net';
import { errorCode } from '@towpath/core';
import { MeshError } from '../mesh-error.ts';
import type { DeviceChange, DeviceControl, WireGuardDevice } from './device.ts';
import { decodeUapiAnswer, encodeUapiSet, MAX_UAPI_BYTES, UAPI_GET } from './uapi.ts';

/** The socket of a userspace WireGuard interface. */
export function uapiSocketPath(interfaceName: string): string {
  return `/var/run/wireguard/${interfaceName}.sock`;
}

/** Configures a userspace WireGuard interface over its UAPI socket, one operation per connection. */
export class UapiControl implements DeviceControl {
  readonly #path: string;

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
    const answer = decodeUapiAnswer(await this.#ask(request, signal));
    if (answer.ok) return answer.device;
    const why = answer.errno === undefined ? answer.reason : `errno ${answer.errno}`;
    throw new MeshError('wireguard-failed', `WireGuard refused a change or gave an unreadable answer (${why}).`, {
      target: this.#path,
    });
  }

  #ask(request: string, signal: AbortSignal | undefined): Promise<string> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const socket = connect(this.#path);
      const chunks: Buffer[] = [];
      let size = 0;
      const onAbort = () => socket.destroy(signal?.reason);
      signal?.addEventListener('abort', onAbort, { once: true });
      socket.on('data', (chunk) => {
        size += chunk.length;
        chunks.push(chunk);
        // The answer ends with an empty line; the connection may stay open.
        const end = chunk.subarray(-2).toString('latin1') === '\n\n' || endsWithEmptyLine(chunks);
        if (end || size > MAX_UAPI_BYTES) socket.end();
      });
      socket.on('error', () => {});
      socket.once('close', () => {
        signal?.removeEventListener('abort', onAbort);
        if (signal?.aborted) reject(signal.reason);
        else if (socket.errored) reject(this.#unreachable(socket.errored));
        else resolve(Buffer.concat(chunks).toString('latin1'));
      });
      socket.write(request);
    });
  }

  #unreachable(cause: Error): MeshError {
    return new MeshError('wireguard-failed', `WireGuard does not answer on ${this.#path} (${errorCode(cause)}).`, {
      target: this.#path,
      cause,
    });
  }
}

/** For an empty line that two chunks share. */
function endsWithEmptyLine(chunks: readonly Buffer[]): boolean {
  const [last, before] = [chunks.at(-1), chunks.at(-2)];
  return last?.length === 1 && last[0] === 0x0a && before?.at(-1) === 0x0a;
}
