/** Link types of pcap and pcapng that are read (https://www.tcpdump.org/linktypes.html). */
export const LinkType = {
  null: 0,
  ethernet: 1,
  rawBsd: 12,
  rawOpenBsd: 14,
  raw: 101,
  loop: 108,
  linuxCooked: 113,
  ipv4: 228,
  ipv6: 229,
  linuxCooked2: 276,
} as const;

const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
const ETHERTYPE_VLAN = new Set([0x8100, 0x88a8, 0x9100]);

/** Tags that may stand in a row; double tagging is the most that is in use. */
const MAX_VLAN_TAGS = 4;

export function isKnownLinkType(linkType: number): boolean {
  return Object.values(LinkType).includes(linkType as (typeof LinkType)[keyof typeof LinkType]);
}

/** Offset of the IP packet in a captured frame; -1 when it carries none or is too short to tell. */
export function ipOffset(linkType: number, frame: Uint8Array): number {
  switch (linkType) {
    case LinkType.ethernet:
      return afterEtherType(frame, 12);
    case LinkType.linuxCooked:
      return afterEtherType(frame, 14);
    case LinkType.linuxCooked2:
      return isIp(u16(frame, 0)) ? 20 : -1;
    case LinkType.null:
    case LinkType.loop:
      // Four bytes of address family in the recorder's byte order; the version nibble says the same.
      return frame.length > 4 ? 4 : -1;
    case LinkType.raw:
    case LinkType.rawBsd:
    case LinkType.rawOpenBsd:
    case LinkType.ipv4:
    case LinkType.ipv6:
      return 0;
    default:
      return -1;
  }
}

/** Returns the offset after the EtherType at `at`, skipping VLAN tags (IEEE 802.1Q). */
function afterEtherType(frame: Uint8Array, at: number): number {
  let type = u16(frame, at);
  let next = at + 2;
  for (let tags = 0; tags < MAX_VLAN_TAGS && ETHERTYPE_VLAN.has(type); tags++) {
    type = u16(frame, next + 2);
    next += 4;
  }
  return isIp(type) ? next : -1;
}

function isIp(etherType: number): boolean {
  return etherType === ETHERTYPE_IPV4 || etherType === ETHERTYPE_IPV6;
}

function u16(bytes: Uint8Array, at: number): number {
  return at + 2 <= bytes.length ? (bytes[at]! << 8) | bytes[at + 1]! : -1;
}
