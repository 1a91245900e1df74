import { lookup, Resolver } from 'node:dns/promises';
import { errorCode, TowpathError } from '@towpath/core';

/** What the name servers say when they know that there is nothing. */
const NOTHING: ReadonlySet<string> = new Set(['ENOTFOUND', 'ENODATA']);

/**
 * The addresses of a host name. The system's own look-up knows local names too, but cannot be cancelled and would
 * keep the process waiting for name servers that are gone; so name servers are asked first, and it only for what
 * they do not know.
 * @throws TowpathError `name-unresolved`
 */
export async function lookUp(host: string, signal: AbortSignal): Promise<string[]> {
  const resolver = new Resolver();
  const cancel = () => resolver.cancel();
  signal.addEventListener('abort', cancel, { once: true });
  try {
    const answers = host.includes('.')
      ? await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)])
      : [];
    const found = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    if (found.length > 0) return found;
    const failures = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason] : []));
    const failed = failures.find((reason) => !NOTHING.has(errorCode(reason)));
    if (failed !== undefined) throw failed;
    return (await lookup(host, { all: true })).map(({ address }) => address);
  } catch (cause) {
    const code = errorCode(cause);
    throw new TowpathError('name-unresolved', `${host} could not be looked up (${code}). Next: give an address.`, {
      target: host,
      cause,
    });
  } finally {
    signal.removeEventListener('abort', cancel);
  }
}
