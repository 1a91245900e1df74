import { type Clock, errorCode, errorMessage, TowpathError } from '@towpath/core';
import { addressFamily, addressScope, type Network } from '@towpath/net';
import { withinLimit } from './deadline.ts';

/** Why the addresses of one family of a name are not known. */
export interface LookUpFailure {
  readonly host: string;
  readonly family: 4 | 6;
  readonly code: string;
  readonly message: string;
  /** The name server gave no answer about the name: nothing is known about its addresses. */
  readonly couldNotAsk: boolean;
}

/** The address of one family of a host, or why there is none. */
export type FamilyLookUp = { readonly address: string } | { readonly failure: LookUpFailure };

/** Look-ups of one host; each family settles by itself. They reject with the signal's reason only. */
export type LookUps = Readonly<Record<4 | 6, Promise<FamilyLookUp>>>;

/** A name whose addresses belong to no server: loopback, unspecified, multicast or broadcast ones. */
export const MISDIRECTED = 'name-misdirected';

/** Failures that are an answer: the name is known to have no such address. */
const DEFINITE: ReadonlySet<string> = new Set(['name-not-found', 'name-without-address', MISDIRECTED]);

/** Scopes of addresses that no other machine has; name servers that block names answer with them. */
const NO_SERVER: ReadonlySet<string | undefined> = new Set(['loopback', 'unspecified', 'multicast', 'broadcast']);

/**
 * Returns why the addresses that a name resolves to lead to no server; undefined when one of them may be a server's, and
 * for literal addresses and `localhost` (RFC 6761 §6.3), which name this machine on purpose.
 */
export function misdirection(host: string, addresses: readonly string[]): string | undefined {
  const wrong = addresses.find((address) => !leadsToServer(host, address));
  if (wrong === undefined || addresses.some((address) => leadsToServer(host, address))) return undefined;
  const where =
    addressScope(wrong) === 'loopback' ? 'an address of this machine itself' : 'not the address of a server';
  return `${host} resolves to ${wrong}, ${where}. Next: check its DNS entry, /etc/hosts, and name servers that block names.`;
}

function leadsToServer(host: string, address: string): boolean {
  const own = addressFamily(host) !== undefined || /^(?:.+\.)?localhost\.?$/i.test(host);
  return own || !NO_SERVER.has(addressScope(address));
}

export interface LookUpLimits {
  /** Limit of the first answer, ms. */
  limitMs: number;
  /** Limit of the other family once one has an answer, ms. */
  otherLimitMs: number;
  /** Families that this machine can use; others are not asked for alone. */
  usable: ReadonlySet<4 | 6>;
  signal: AbortSignal;
}

/** Looks up one address per family of a host. The first family that has an answer does not wait for the other. */
export function lookUp(
  components: { network: Network; clock: Clock },
  host: string,
  { limitMs, otherLimitMs, usable, signal }: LookUpLimits,
): LookUps {
  const { network, clock } = components;
  const first = within(limitMs, undefined).then(
    (addresses) => ({ addresses }),
    (error: unknown) => ({ error }),
  );
  const lookUps: LookUps = { 4: one(4), 6: one(6) };
  // They may reject before they are awaited.
  for (const promise of Object.values(lookUps)) promise.catch(() => undefined);
  return lookUps;

  function within(limit: number, family: 4 | 6 | undefined): Promise<string[]> {
    const what = family === undefined ? host : `the IPv${family} address of ${host}`;
    const message = `Could not look up ${what}: no name server answered within ${Math.round(limit)} ms.`;
    return withinLimit(clock, limit, message, signal, (limited) => network.resolve(host, { family, signal: limited }));
  }

  async function one(family: 4 | 6): Promise<FamilyLookUp> {
    const result = await first;
    signal.throwIfAborted();
    if ('error' in result) return { failure: failureOf(host, family, result.error) };
    const found = result.addresses.filter((address) => addressFamily(address) === family);
    if (found.length > 0) return chosen(found, family);
    if (!usable.has(family) || addressFamily(host) !== undefined) return { failure: without(host, family) };
    try {
      return chosen(await within(otherLimitMs, family), family);
    } catch (error) {
      signal.throwIfAborted();
      return { failure: failureOf(host, family, error) };
    }
  }

  function chosen(addresses: readonly string[], family: 4 | 6): FamilyLookUp {
    const why = misdirection(host, addresses);
    if (why !== undefined) return { failure: failureOf(host, family, new TowpathError(MISDIRECTED, why)) };
    const address = addresses.find((candidate) => leadsToServer(host, candidate));
    return address === undefined ? { failure: without(host, family) } : { address };
  }
}

function failureOf(host: string, family: 4 | 6, error: unknown): LookUpFailure {
  const code = errorCode(error);
  return { host, family, code, message: errorMessage(error), couldNotAsk: !DEFINITE.has(code) };
}

function without(host: string, family: 4 | 6): LookUpFailure {
  const error = new TowpathError('name-without-address', `${host} has no IPv${family} address.`);
  return failureOf(host, family, error);
}

/** Resolves with the addresses of one family once all look-ups have settled, or `graceMs` after the first address. */
export async function gathered<T>(
  clock: Clock,
  graceMs: number,
  lookUps: readonly { readonly value: T; readonly lookUp: Promise<FamilyLookUp> }[],
  signal: AbortSignal,
): Promise<{ value: T; address: string }[]> {
  const found: { value: T; address: string }[] = [];
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  let grace: Promise<void> | undefined;
  const complete = Promise.withResolvers<void>();
  const settling = lookUps.map(async ({ value, lookUp: pending }) => {
    const result = await pending;
    if (!('address' in result)) return;
    found.push({ value, address: result.address });
    grace ??= clock.sleep(graceMs, either).then(complete.resolve, () => undefined);
  });
  Promise.all(settling).then(() => complete.resolve(), complete.reject);
  try {
    await complete.promise;
  } finally {
    over.abort();
    await grace;
  }
  signal.throwIfAborted();
  return found;
}
