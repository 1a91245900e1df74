import type { Endpoint, TcpListener, UdpSocket } from '@towpath/net';
import type { SimulatedNat } from '@towpath/net/simulated';

/** How a UPnP gateway answers. */
export interface UpnpHabits {
  service: string;
  /** Where its description says that it is; itself unless told otherwise. */
  location?: string;
  /** The control URL in the description. */
  controlUrl?: string;
  /** Ports that somebody else has mapped. */
  taken: Set<number>;
  /** It knows only leases without end. */
  permanentOnly: boolean;
  /** Answers come in chunks. */
  chunked: boolean;
  externalAddress?: string;
  /** Calls the renewal of a rule a conflict. */
  conflictOnRenewal: boolean;
  /** Answers a lease with this code. */
  leaseRefusal?: number;
  /** The external port must be the internal one. */
  samePort: boolean;
  /** Services before the real one, whose connection is down. */
  deadServices: number;
  /** Goes into the description as it is. */
  urlBase?: string;
  /** Prefix of the description's elements. */
  prefix: string;
  /** What it answers instead of HTTP. */
  garbage?: string;
  /** Sends refusals with status 200. */
  refusesWith200: boolean;
  /** What precedes every answer. */
  interim: string;
  /** Refuses each of so many requests to map, as while it starts. */
  startsFor: number;
  /** Ports that another mechanism of the router uses. */
  usedElsewhere: Set<number>;
  /** Deletes no rule: refuses with this code. */
  deletionRefusal?: number;
  /** Takes connections and does not answer. */
  silent?: boolean;
  /** Whose rules it names when asked about a port. */
  owners: Map<number, string>;
}

/**
 * A UPnP internet gateway on a simulated NAT, written from UPnP Device Architecture 1.1 and WANIPConnection:2 and not
 * with the code under test: it opens real forwardings, so that a mapped port is reached from outside.
 */
export class UpnpResponder {
  readonly habits: UpnpHabits = {
    service: 'urn:schemas-upnp-org:service:WANIPConnection:1',
    taken: new Set(),
    permanentOnly: false,
    chunked: false,
    conflictOnRenewal: false,
    samePort: false,
    deadServices: 0,
    prefix: '',
    refusesWith200: false,
    interim: '',
    startsFor: 0,
    usedElsewhere: new Set(),
    owners: new Map(),
  };
  readonly actions: string[] = [];
  readonly leases: Map<number, { leaseS: number; remove: () => void }> = new Map();
  readonly #nat: SimulatedNat;
  #search: UdpSocket | undefined;
  #web: TcpListener | undefined;

  constructor(nat: SimulatedNat) {
    this.#nat = nat;
  }

  async start(): Promise<void> {
    const { network } = this.#nat.gateway;
    this.#search = await network.bindUdp({
      port: 1900,
      multicastGroups: ['239.255.255.250'],
      onMessage: (data, from) => this.#answerSearch(String(Buffer.from(data)), from),
    });
    this.#web = await network.listenTcp({
      port: 5000,
      onConnection: (connection) => {
        let text = '';
        return {
          onData: (data) => {
            text += String(Buffer.from(data));
            const [head = '', body] = text.split('\r\n\r\n');
            const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
            if (body === undefined || body.length < length || this.habits.silent) return;
            connection.write(Buffer.from(this.#answer(head, body)));
            void connection.close();
          },
        };
      },
    });
  }

  /** Loses every rule, and says `ssdp:alive` as after a start. */
  restart(bootId?: number): void {
    for (const { remove } of this.leases.values()) remove();
    this.leases.clear();
    this.alive(bootId);
  }

  alive(bootId?: number): void {
    const nt = 'urn:schemas-upnp-org:device:InternetGatewayDevice:1';
    const boot = bootId === undefined ? '' : `BOOTID.UPNP.ORG: ${bootId}\r\n`;
    const text = `NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nNT: ${nt}\r\nNTS: ssdp:alive\r\n${boot}\r\n`;
    this.#search?.send(Buffer.from(text), { address: '239.255.255.250', port: 1900 });
  }

  async close(): Promise<void> {
    await this.#search?.close();
    await this.#web?.close();
  }

  #answerSearch(text: string, from: Endpoint): void {
    if (!text.startsWith('M-SEARCH * HTTP/1.1\r\n') || !text.includes('MAN: "ssdp:discover"')) return;
    const location = this.habits.location ?? `http://${this.#nat.gateway.address}:5000/rootDesc.xml`;
    const st = 'urn:schemas-upnp-org:device:InternetGatewayDevice:1';
    this.#search?.send(Buffer.from(`HTTP/1.1 200 OK\r\nST: ${st}\r\nLOCATION: ${location}\r\n\r\n`), from);
  }

  #answer(head: string, body: string): string {
    const { habits } = this;
    if (habits.garbage !== undefined) return habits.garbage;
    if (head.startsWith('GET /rootDesc.xml ')) return this.#http(200, this.#description());
    const action = /^soapaction: "([^"]*)#(\w+)"\s*$/im.exec(head);
    if (head.startsWith('POST /dead ')) {
      return this.#soap('GetExternalIPAddress', '<NewExternalIPAddress>0.0.0.0</NewExternalIPAddress>');
    }
    if (!head.startsWith('POST /ctl?a=1&b=2 HTTP/1.1') || action?.[1] !== habits.service) return this.#http(404, '');
    const field = (name: string) => new RegExp(`<${name}>(.*?)</${name}>`).exec(body)?.[1] ?? '';
    return this.#act(action[2] ?? '', field);
  }

  #act(action: string, field: (name: string) => string): string {
    this.actions.push(action);
    const port = Number(field('NewExternalPort'));
    switch (action) {
      case 'GetExternalIPAddress': {
        const address = this.habits.externalAddress ?? this.#nat.externalAddress;
        return this.#soap(action, `<NewExternalIPAddress>${address}</NewExternalIPAddress>`);
      }
      case 'AddPortMapping': {
        const leaseS = Number(field('NewLeaseDuration'));
        if (this.habits.startsFor-- > 0) return this.#fault(501, 'ActionFailed');
        if (this.habits.usedElsewhere.has(port)) return this.#fault(729, 'ConflictWithOtherMechanisms');
        if (this.habits.owners.has(port)) return this.#fault(718, 'ConflictInMappingEntry');
        if (this.habits.taken.has(port)) return this.#fault(718, 'ConflictInMappingEntry');
        if (this.habits.conflictOnRenewal && this.leases.has(port)) return this.#fault(718, 'ConflictInMappingEntry');
        if (this.habits.leaseRefusal && leaseS > 0) return this.#fault(this.habits.leaseRefusal, 'No');
        if (this.habits.samePort && field('NewInternalPort') !== field('NewExternalPort')) {
          return this.#fault(724, 'SamePortValuesRequired');
        }
        if (this.habits.permanentOnly && leaseS > 0) return this.#fault(725, 'OnlyPermanentLeasesSupported');
        const internal = { address: field('NewInternalClient'), port: Number(field('NewInternalPort')) };
        const protocol = field('NewProtocol') === 'UDP' ? 'udp' : 'tcp';
        this.leases.get(port)?.remove();
        this.leases.set(port, { leaseS, remove: this.#nat.forward(protocol, internal, port)! });
        return this.#soap(action, '');
      }
      case 'GetSpecificPortMappingEntry': {
        const owner = this.habits.owners.get(port);
        if (owner === undefined) return this.#fault(714, 'NoSuchEntryInArray');
        return this.#soap(
          action,
          `<NewInternalPort>${port}</NewInternalPort><NewInternalClient>${owner}</NewInternalClient>`,
        );
      }
      case 'DeletePortMapping': {
        const { deletionRefusal } = this.habits;
        if (deletionRefusal !== undefined) return this.#fault(deletionRefusal, 'Refused');
        const lease = this.leases.get(port);
        if (lease === undefined || field('NewProtocol') !== 'UDP') return this.#fault(714, 'NoSuchEntryInArray');
        lease.remove();
        this.leases.delete(port);
        return this.#soap(action, '');
      }
      default:
        return this.#fault(401, 'Invalid Action');
    }
  }

  #description(): string {
    const { controlUrl = '/ctl?a=1&amp;b=2', service: type, deadServices, urlBase = '', prefix } = this.habits;
    const p = prefix === '' ? '' : `${prefix}:`;
    const dead = `<${p}service><${p}serviceType>${type}</${p}serviceType><${p}controlURL>/dead</${p}controlURL></${p}service>`;
    return `\ufeff<?xml version="1.0"?><${p}root xmlns="urn:schemas-upnp-org:device-1-0">${urlBase}<${p}device><${p}serviceList>
      <!-- <service> --><service><serviceType>urn:schemas-upnp-org:service:Layer3Forwarding:1</serviceType><controlURL>/l3f</controlURL></service>
      ${dead.repeat(deadServices)}
      <${p}service ><${p}serviceType><![CDATA[${type}]]></${p}serviceType>
        <${p}controlURL>${controlUrl}</${p}controlURL>
      </${p}service></${p}serviceList></${p}device></${p}root>`;
  }

  #soap(action: string, inner: string): string {
    const { service } = this.habits;
    const answer = `<u:${action}Response xmlns:u="${service}">${inner}</u:${action}Response>`;
    return this.#http(200, `<s:Envelope><s:Body>${answer}</s:Body></s:Envelope>`);
  }

  #fault(code: number, description: string): string {
    const detail = `<UPnPError><errorCode>${code}</errorCode><errorDescription>${description}</errorDescription></UPnPError>`;
    const status = this.habits.refusesWith200 ? 200 : 500;
    return this.#http(
      status,
      `<s:Envelope><s:Body><s:Fault><detail>${detail}</detail></s:Fault></s:Body></s:Envelope>`,
    );
  }

  #http(status: number, body: string): string {
    const head = `${this.habits.interim}HTTP/1.1 ${status} Status\r\nContent-Type: text/xml\r\n`;
    if (!this.habits.chunked) return `${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
    const chunks = body.match(/[\s\S]{1,50}/g) ?? [];
    const encoded = chunks.map((chunk) => `${Buffer.byteLength(chunk).toString(16)}\r\n${chunk}\r\n`).join('');
    return `${head}Transfer-Encoding: chunked\r\n\r\n${encoded}0\r\n\r\n`;
  }
}
