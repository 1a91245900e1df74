import { type Endpoint, isPort } from '@towpath/net';

/** UPnP Internet Gateway Device: descriptions and SOAP actions (WANIPConnection:1 and :2, WANPPPConnection:1). */

/** The services that map ports, the preferred one first. */
const SERVICES = [
  'urn:schemas-upnp-org:service:WANIPConnection:2',
  'urn:schemas-upnp-org:service:WANIPConnection:1',
  'urn:schemas-upnp-org:service:WANPPPConnection:1',
] as const;

/** Where a gateway takes actions. */
export interface ControlPoint {
  readonly service: string;
  readonly endpoint: Endpoint;
  readonly path: string;
}

/** WANIPConnection:2 §2.6: codes that have a remedy. */
export const UpnpErrorCode = { ConflictInMapping: 718, OnlyPermanentLeases: 725 } as const;

/** An endpoint and a path, of a URL that leads to an address; undefined for any other. Never throws. */
export function readDeviceUrl(text: string, base?: string): { endpoint: Endpoint; path: string } | undefined {
  const url = URL.parse(text, base);
  if (url?.protocol !== 'http:') return undefined;
  const address = url.hostname.replace(/^\[|\]$/g, '');
  const port = url.port === '' ? 80 : Number(url.port);
  return isPort(port) ? { endpoint: { address, port }, path: `${url.pathname}${url.search}` } : undefined;
}

/**
 * Finds the service that maps ports in a device description. Only control URLs at the same address count, so that
 * a description cannot send us elsewhere. Never throws.
 */
export function readDescription(xml: string, location: string): ControlPoint | undefined {
  const base = element(xml, 'URLBase') ?? location;
  const blocks = [...xml.matchAll(/<service>([\s\S]*?)<\/service>/g)].map(([, block = '']) => block);
  const device = readDeviceUrl(location);
  for (const service of SERVICES) {
    const block = blocks.find((one) => element(one, 'serviceType') === service);
    const control = block === undefined ? undefined : element(block, 'controlURL');
    const place = control === undefined ? undefined : readDeviceUrl(control, base);
    if (place !== undefined && place.endpoint.address === device?.endpoint.address) return { service, ...place };
  }
  return undefined;
}

/** A SOAP request: headers and body. */
export function encodeAction(
  service: string,
  action: string,
  fields: Readonly<Record<string, string | number>>,
): { headers: Record<string, string>; body: string } {
  const values = Object.entries(fields).map(([name, value]) => `<${name}>${escapeXml(String(value))}</${name}>`);
  return {
    headers: { 'Content-Type': 'text/xml; charset="utf-8"', SOAPAction: `"${service}#${action}"` },
    body:
      '<?xml version="1.0"?>\r\n' +
      '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" ' +
      's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>' +
      `<u:${action} xmlns:u="${service}">${values.join('')}</u:${action}></s:Body></s:Envelope>\r\n`,
  };
}

/** The error in a SOAP answer; undefined when there is none. Never throws. */
export function readFault(xml: string): { code: number; description: string } | undefined {
  const code = Number(element(xml, 'errorCode'));
  return Number.isInteger(code) && code > 0
    ? { code, description: element(xml, 'errorDescription') ?? 'no description' }
    : undefined;
}

/** The text of the first element of that name, whatever its prefix; undefined when there is none. Never throws. */
export function element(xml: string, name: string): string | undefined {
  const text = new RegExp(`<(?:\\w+:)?${name}(?:\\s[^>]*)?>([^<]*)<`).exec(xml)?.[1];
  return text === undefined ? undefined : unescapeXml(text.trim());
}

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

function escapeXml(text: string): string {
  return text.replace(/[&<>]/g, (sign) => ({ '&': '&amp;', '<': '&lt;' })[sign] ?? '&gt;');
}

function unescapeXml(text: string): string {
  return text.replace(/&(amp|lt|gt|quot|apos);/g, (_whole, name: string) => ENTITIES[name] ?? '');
}
