import type { Runtime } from '../cli/runtime.ts';

/** Resolves when the time is up, or when the process is asked to end, which is how one ends a server. */
export async function untilOver({ clock, signal }: Runtime, seconds: number | undefined): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const onAbort = () => resolve();
  signal.addEventListener('abort', onAbort, { once: true });
  // The timer also keeps the process alive when nothing else does.
  using _limit = clock.timer(seconds === undefined ? Number.MAX_SAFE_INTEGER : seconds * 1_000, resolve);
  await promise;
  signal.removeEventListener('abort', onAbort);
}
