import { isIP } from 'node:net';

/** Where a request arrived: the local end of its connection. */
export interface LocalEnd {
  readonly address: string | undefined;
  readonly port: number | undefined;
}

/** The local end of a socket. */
export function localEnd(socket: { localAddress?: string | undefined; localPort?: number | undefined }): LocalEnd {
  return { address: socket.localAddress, port: socket.localPort };
}

/**
 * The names under which nodes know a server. A request that was signed for another one was meant for another server, and
 * somebody replays it here.
 */
export class ServerNames {
  readonly #names: ReadonlySet<string>;

  /** @param names `host`, which stands for any port of it, or `host:port`. */
  constructor(names: readonly string[]) {
    this.#names = new Set(names.map((name) => bracketed(name.toLowerCase())));
  }

  /** Whether `authority` (`host:port`) is a configured name, or the address that the connection itself leads to. */
  accepts(authority: string, local: LocalEnd): boolean {
    const text = authority.toLowerCase();
    const { host, port } = split(text);
    if (this.#names.has(text) || this.#names.has(host)) return true;
    const address = local.address?.replace(/^::ffff:/, '').toLowerCase();
    if (address === undefined || port !== local.port) return false;
    return host === bracketed(address) || (host === 'localhost' && /^(127\.|::1$)/.test(address));
  }

  /**
   * Whether a browser on this machine reached the server by a foreign name (DNS rebinding): the Host header is
   * neither an address, nor `localhost`, nor a configured name.
   */
  isForeignHost(host: string | undefined): boolean {
    if (host === undefined) return false;
    const { host: name } = split(host.toLowerCase());
    if (name === 'localhost' || isIP(name.replace(/^\[|\]$/g, '')) !== 0) return false;
    return !this.#names.has(name) && !this.#names.has(host.toLowerCase());
  }
}

function split(authority: string): { host: string; port: number | undefined } {
  const match = /^(.*?)(?::(\d{1,5}))?$/.exec(authority);
  return { host: match?.[1] ?? authority, port: match?.[2] === undefined ? undefined : Number(match[2]) };
}

/** IPv6 addresses stand in brackets, as in URLs. */
function bracketed(name: string): string {
  return isIP(name) === 6 ? `[${name}]` : name;
}
