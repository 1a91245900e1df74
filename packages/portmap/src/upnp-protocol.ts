import type { Gateway } from '@achingbrain/nat-port-mapper';
import { errorMessage, type Log } from '@towpath/core';
import type { GrantedMapping, MappingProtocol, MappingRequest } from './mapping.ts';
import { PortmapError } from './portmap-error.ts';

type Request = Required<MappingRequest>;

/** UPnP IGD through a library, which brings its own sockets: SSDP multicast and SOAP over HTTP. */
export class UpnpProtocol implements MappingProtocol {
  readonly name = 'upnp';
  readonly #log: Log;
  #gateway: Gateway | undefined;

  constructor({ log }: { log: Log }) {
    this.#log = log;
  }

  async map(request: Request, signal: AbortSignal): Promise<GrantedMapping> {
    this.#gateway ??= await this.#find(signal);
    const { internalPort, protocol, suggestedExternalPort, lifetimeMs } = request;
    const [mapping] = await collect(
      this.#gateway.mapAll(internalPort, {
        protocol,
        externalPort: suggestedExternalPort,
        ttl: lifetimeMs,
        // The lease is renewed by whoever holds the mapping, on our own clock.
        autoRefresh: false,
        description: 'towpath',
        signal,
      }),
    );
    if (mapping === undefined) throw new PortmapError('gateway-refused', 'The UPnP gateway made no mapping.');
    return { via: 'upnp', external: { address: mapping.externalHost, port: mapping.externalPort }, lifetimeMs };
  }

  async unmap({ internalPort }: Request): Promise<void> {
    try {
      await this.#gateway?.unmap(internalPort);
      await this.#gateway?.stop();
    } catch (error) {
      this.#log.debug(`The UPnP mapping could not be removed and will expire: ${errorMessage(error)}`);
    }
  }

  async #find(signal: AbortSignal): Promise<Gateway> {
    // Loaded only here: the library brings 35 packages that most runs never need.
    const { upnpNat } = await import('@achingbrain/nat-port-mapper');
    for await (const gateway of upnpNat({ autoRefresh: false }).findGateways({ signal })) {
      if (gateway.family === 'IPv4') return gateway;
    }
    throw new PortmapError('no-answer', 'No UPnP gateway answered on this network.');
  }
}

async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = [];
  for await (const item of items) all.push(item);
  return all;
}
