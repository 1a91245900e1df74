import { lookup, promises as dns } from 'node:dns';
import { type Clock, errorCode, readRegular } from '@towpath/core';
import { addressFamily } from '../address/ip.ts';
import { type NetErrorCode, nameError } from '../net-error.ts';
import type { ResolveOptions } from '../network.ts';
import { bothFamilies } from '../resolve-families.ts';

/** How long one name server may take, and how often each is asked; a dead first server leaves time for the second. */
const SERVER_TIMEOUT_MS = 1_500;
const TRIES = 2;

/** Failures of c-ares (`dns` module, "Error codes"). */
const FAILURES: Readonly<Record<string, NetErrorCode>> = {
  ENOTFOUND: 'name-not-found',
  EBADNAME: 'name-not-found',
  ENODATA: 'name-without-address',
  ETIMEOUT: 'name-server-silent',
  ECONNREFUSED: 'name-server-silent',
  ENONAME: 'name-not-found',
};

/** Looks names up: the hosts file, the system's name servers, and for local names the system's own resolver. */
export class NodeNames {
  readonly #clock: Clock;
  readonly #hostsFile: string;
  readonly #servers: readonly string[] | undefined;

  constructor({ clock }: { clock: Clock }, options: { hostsFile?: string; servers?: readonly string[] } = {}) {
    this.#clock = clock;
    this.#hostsFile = options.hostsFile ?? HOSTS_FILE;
    this.#servers = options.servers;
  }

  async resolve(name: string, options: ResolveOptions = {}): Promise<string[]> {
    const { family, signal } = options;
    signal?.throwIfAborted();
    const literal = addressFamily(name);
    if (literal !== undefined) return sameFamily(name, literal, family);
    const listed = await this.#listed(name);
    signal?.throwIfAborted();
    const wanted = family === undefined ? listed : listed.filter((address) => addressFamily(address) === family);
    if (wanted.length > 0) return wanted;
    if (family !== undefined) return this.#ask(name, family, signal);
    return bothFamilies(this.#clock, signal, (one, ended) => this.#ask(name, one, ended));
  }

  async #listed(name: string): Promise<string[]> {
    try {
      return hostsEntries((await readRegular(this.#hostsFile)).toString(), name);
    } catch {
      // No such file, or not readable: the name servers decide.
      return [];
    }
  }

  async #ask(name: string, family: 4 | 6, signal: AbortSignal | undefined): Promise<string[]> {
    signal?.throwIfAborted();
    // One resolver for each question: it reads the list of name servers anew, and can be cancelled alone.
    const resolver = new dns.Resolver({ timeout: SERVER_TIMEOUT_MS, tries: TRIES });
    if (this.#servers) resolver.setServers(this.#servers);
    const cancel = () => resolver.cancel();
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      return family === 4 ? await resolver.resolve4(name) : await resolver.resolve6(name);
    } catch (cause) {
      signal?.throwIfAborted();
      const code = FAILURES[errorCode(cause)] ?? 'name-server-failed';
      if (code === 'name-not-found' && isLocalName(name)) return await systemLookup(name, family, signal);
      throw nameError(code, name, family, cause);
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }
}

const HOSTS_FILE =
  process.platform === 'win32' ? `${process.env.SystemRoot}\\System32\\drivers\\etc\\hosts` : '/etc/hosts';

/** The addresses that a hosts file gives a name, in its order; `localhost` always has the loopback ones. */
export function hostsEntries(text: string, name: string): string[] {
  const wanted = name.toLowerCase().replace(/\.$/, '');
  const found: string[] = [];
  for (const line of text.split('\n')) {
    const [address = '', ...names] = (line.split('#')[0] ?? '').trim().split(/\s+/);
    if (addressFamily(address) === undefined || found.includes(address)) continue;
    if (names.some((listed) => listed.toLowerCase() === wanted)) found.push(address);
  }
  if (found.length === 0 && (wanted === 'localhost' || wanted.endsWith('.localhost'))) return ['127.0.0.1', '::1'];
  return found;
}

/** Names that name servers do not know but the system may: of one label (search domains, NetBIOS) and of mDNS. */
function isLocalName(name: string): boolean {
  const bare = name.replace(/\.$/, '').toLowerCase();
  return !bare.includes('.') || bare.endsWith('.local');
}

/** The system's resolver, which cannot be cancelled: an aborted look-up ends in the background. */
function systemLookup(name: string, family: 4 | 6, signal: AbortSignal | undefined): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal?.reason);
    signal?.addEventListener('abort', abort, { once: true });
    lookup(name, { family, all: true }, (cause, addresses) => {
      signal?.removeEventListener('abort', abort);
      if (!cause) resolve(addresses.map(({ address }) => address));
      else reject(nameError(cause.code === 'EAI_AGAIN' ? 'name-server-silent' : 'name-not-found', name, family, cause));
    });
  });
}

function sameFamily(name: string, literal: 4 | 6, family: 4 | 6 | undefined): string[] {
  if (family === undefined || literal === family) return [name];
  throw nameError('name-without-address', name, family);
}
