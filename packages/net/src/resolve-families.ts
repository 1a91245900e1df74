import type { Clock, Timer } from '@towpath/core';
import { NetError, type NetErrorCode } from './net-error.ts';

/** How long the second family is waited for once the first has an answer (RFC 8305 §3, Resolution Delay). */
const RESOLUTION_DELAY_MS = 50;

/**
 * Which of two failures counts: while one family is not answered, nothing final is known about the name; and a name that
 * exists without addresses of one family was found.
 */
const ORDER: readonly (NetErrorCode | undefined)[] = [
  'name-server-failed',
  'name-server-silent',
  'name-without-address',
  'name-not-found',
];

/**
 * Asks for the addresses of both families at once. The first answer counts; the other family is waited for 50 ms more.
 * @param ask called once for each family; its signal aborts when the answer is not needed any more.
 * @returns IPv6 addresses before IPv4 ones.
 * @throws when both fail, a failure to ask before an answer about the name; the reason of `signal`.
 */
export async function bothFamilies(
  clock: Clock,
  signal: AbortSignal | undefined,
  ask: (family: 4 | 6, signal: AbortSignal) => Promise<string[]>,
): Promise<string[]> {
  const ending = new AbortController();
  const ended = signal ? AbortSignal.any([signal, ending.signal]) : ending.signal;
  const found: Partial<Record<4 | 6, string[]>> = {};
  const failures: unknown[] = [];
  let timer: Timer | undefined;
  try {
    await new Promise<void>((resolve) => {
      for (const family of [6, 4] as const) {
        const settle = () => {
          const settled = Object.keys(found).length + failures.length;
          if (settled === 2) resolve();
          else if (found[family] !== undefined) timer = clock.timer(RESOLUTION_DELAY_MS, resolve);
        };
        ask(family, ended).then(
          (addresses) => {
            found[family] = addresses;
            settle();
          },
          (failure) => {
            failures.push(failure);
            settle();
          },
        );
      }
    });
  } finally {
    timer?.cancel();
    ending.abort();
  }
  signal?.throwIfAborted();
  const addresses = [...(found[6] ?? []), ...(found[4] ?? [])];
  if (addresses.length > 0) return addresses;
  throw firstOf(failures);
}

function firstOf(failures: readonly unknown[]): unknown {
  const rank = (failure: unknown): number => {
    const at = ORDER.indexOf(failure instanceof NetError ? failure.code : undefined);
    return at < 0 ? ORDER.length : at;
  };
  return failures.toSorted((a, b) => rank(a) - rank(b))[0];
}
