import { type Clock, deadline } from '@towpath/core';
import type { EchoOptions } from './echo-service.ts';

/**
 * Sizes of packets inside the tunnel that are tried, largest first; the last is taken without a test: with 80 bytes of IPv6, UDP
 * and WireGuard it has 1,280 bytes, which every path of IPv6 carries.
 */
export const MTU_STEPS: readonly number[] = [1_420, 1_400, 1_360, 1_320, 1_280, 1_200];

export interface PathMtuComponents {
  clock: Clock;
  echo: { ping(address: string, options?: EchoOptions): Promise<number> };
}

export interface PathMtuOptions {
  address: string;
  /** Round trip of small echoes, ms. */
  rttMs: number;
  signal?: AbortSignal | undefined;
}

/** A size is too large when this many padded echoes of it are lost. */
const TRANSMISSIONS = 3;
const MIN_WAIT_MS = 250;
const MAX_WAIT_MS = 1_000;

/**
 * Finds the largest packet that a peer receives through the tunnel: docs/protocol/mesh.md, "Path MTU". The route's MTU must
 * be that of the interface meanwhile, or the echoes are fragmented.
 * @returns a size of {@link MTU_STEPS}; undefined when small echoes are not answered either, so that nothing is known.
 * @throws the signal's reason when it aborts.
 */
export async function findPathMtu(components: PathMtuComponents, options: PathMtuOptions): Promise<number | undefined> {
  for (const packetBytes of MTU_STEPS.slice(0, -1)) {
    if (await passes(components, options, packetBytes)) return packetBytes;
    if (!(await passes(components, options, 0))) return undefined;
  }
  return MTU_STEPS.at(-1);
}

/**
 * Whether packets of this size are lost while small ones are answered.
 * @throws the signal's reason when it aborts.
 */
export async function isTooLarge(
  components: PathMtuComponents,
  options: PathMtuOptions,
  packetBytes: number,
): Promise<boolean> {
  return !(await passes(components, options, packetBytes)) && (await passes(components, options, 0));
}

async function passes(
  { clock, echo }: PathMtuComponents,
  { address, rttMs, signal }: PathMtuOptions,
  packetBytes: number,
): Promise<boolean> {
  const waitMs = Math.min(MAX_WAIT_MS, Math.max(MIN_WAIT_MS, 3 * rttMs));
  for (let transmission = 0; transmission < TRANSMISSIONS; transmission++) {
    using limit = deadline(clock, waitMs, signal);
    try {
      await echo.ping(address, { signal: limit.signal, packetBytes });
      return true;
    } catch (error) {
      signal?.throwIfAborted();
      if (!limit.expired) throw error;
    }
  }
  return false;
}
