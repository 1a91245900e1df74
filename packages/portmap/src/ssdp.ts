/** Searching for a UPnP internet gateway: SSDP, UPnP Device Architecture 1.1 §1.3. */

export const SSDP_GROUP = '239.255.255.250';
export const SSDP_PORT = 1900;

/** Every version answers a search for the first one (§1.3.2). */
const GATEWAY_DEVICE = 'urn:schemas-upnp-org:device:InternetGatewayDevice:1';

/** Answers are header lines; larger datagrams are ignored. */
const MAX_ANSWER_BYTES = 4_096;

/** Encodes a search to the multicast group, or to one device. */
export function encodeGatewaySearch(to: string): Uint8Array {
  const lines = [
    'M-SEARCH * HTTP/1.1',
    `HOST: ${to}:${SSDP_PORT}`,
    `ST: ${GATEWAY_DEVICE}`,
    'MAN: "ssdp:discover"',
    // Longest delay of answers, s; one is the smallest allowed value.
    'MX: 1',
  ];
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}

/** Returns the URL of the description in an answer of a gateway; undefined for other datagrams. Does not throw. */
export function readGatewayAnswer(data: Uint8Array): string | undefined {
  if (data.length > MAX_ANSWER_BYTES) return undefined;
  const text = Buffer.from(data).toString('latin1');
  if (!/^HTTP\/1\.[01] 200[ \r]/.test(text)) return undefined;
  if (!/^ST:.*:InternetGatewayDevice:\d+\s*$/im.test(text)) return undefined;
  return /^LOCATION:\s*(http:\/\/[!-~]+)\s*$/im.exec(text)?.[1];
}

/** An unsolicited announcement of a gateway. */
export interface GatewayNotice {
  readonly kind: 'alive' | 'byebye';
  /** Counts the starts of the device (UPnP Device Architecture 1.1 §1.2.2); older devices do not send it. */
  readonly bootId: string | undefined;
}

/** Reads a NOTIFY of a gateway device, its root device or its WAN services; undefined for anything else. Never throws. */
export function readGatewayNotice(data: Uint8Array): GatewayNotice | undefined {
  if (data.length > MAX_ANSWER_BYTES) return undefined;
  const text = Buffer.from(data).toString('latin1');
  if (!/^NOTIFY \* HTTP\/1\.[01][\r\n]/.test(text)) return undefined;
  if (!/^NT:.*(?:InternetGatewayDevice|WAN(?:IP|PPP)Connection|upnp:rootdevice)/im.test(text)) return undefined;
  const kind = /^NTS:\s*ssdp:(alive|byebye)\s*$/im.exec(text)?.[1];
  if (kind === undefined) return undefined;
  return {
    kind: kind.toLowerCase() === 'alive' ? 'alive' : 'byebye',
    bootId: /^BOOTID\.UPNP\.ORG:\s*(\d{1,10})\s*$/im.exec(text)?.[1],
  };
}
