import { count, type IpFamily } from './values.ts';

/**
 * How packets get from one side to the other. `netdev`: at the ingress of the device, past conntrack, routing and the
 * host's FORWARD rules. `inet`: at prerouting and postrouting; the host must forward.
 */
export type RelayForm = 'netdev' | 'inet';

/** Bytes of a UDP payload that are compared. */
export interface PayloadPart {
  readonly offsetBytes: number;
  readonly lengthBytes: 1 | 2 | 4;
  /** Bits that are compared. @default all */
  readonly mask?: number;
  /** One of these, big-endian. */
  readonly values: readonly number[];
}

/** All parts must match. */
export type PayloadPattern = readonly PayloadPart[];

/**
 * STUN messages (RFC 8489 §5), and whatever else has the magic cookie at its place: the two zero bits before it are left to the
 * server's socket to check, which forwards what is data. Each comparison costs every packet.
 */
export const STUN_PATTERN: PayloadPattern = [{ offsetBytes: 4, lengthBytes: 4, values: [0x2112a442] }];

/** What the rules are made for. */
export interface RelayRules {
  form: RelayForm;
  /** Devices that sessions' packets arrive on; of `netdev`. */
  devices: readonly string[];
  /** Payloads that are left to the server's socket. */
  control: readonly PayloadPattern[];
  /** When given, only these payloads are forwarded; all others are left to the server's socket. */
  data?: readonly PayloadPattern[] | undefined;
  /** Larger payloads are left to the server's socket. */
  maxPayloadBytes?: number | undefined;
  /** Rate that all sessions share, bytes per second with IP and UDP headers. */
  totalBytesPerSecond?: number | undefined;
  maxSessions: number;
}

/**
 * Sessions are spread over so many maps with counters: nft reads a map as a whole, and makes no change meanwhile, so that a
 * move waits for a thirty-second of the counters at most.
 */
export const COUNTER_MAPS = 32;

/** Name of the map with counters that a session of this number is in. */
export function counterMap(number: number): string {
  return `from_port${number % COUNTER_MAPS}`;
}

/** Counters of packets that were dropped because an account has used up its rate or its bytes. */
export const DROP_COUNTERS = { rate: 'over_rate', quota: 'over_quota' } as const;

/** Returns how many elements a map of sessions holds. Those on the way out still have theirs, so twice as many have room. */
export function sessionCount({ maxSessions }: RelayRules): string {
  return count(2 * maxSessions, 'a number of sessions', 1);
}

/** @param types of key and value, as nft writes them */
export function counterMapCommands(at: string, { maxSessions }: RelayRules, types: string): string[] {
  // Numbers of sessions are dense.
  const share = count(4 * Math.ceil(maxSessions / COUNTER_MAPS), 'a number of sessions', 1);
  return Array.from(
    { length: COUNTER_MAPS },
    (_, number) => `add map ${at} ${counterMap(number)} { ${types}; size ${share}; counter; }`,
  );
}

/** Counters of what is dropped, and the limit that all sessions share. */
export function objectCommands(at: string, { totalBytesPerSecond }: RelayRules): string[] {
  const counters = Object.values(DROP_COUNTERS).map((each) => `add counter ${at} ${each}`);
  if (totalBytesPerSecond === undefined) return counters;
  const rate = `rate over ${count(totalBytesPerSecond, 'a rate', 1)} bytes/second`;
  return [...counters, `add limit ${at} total { ${rate}; }`];
}

/**
 * Returns the rules that drop what is over a limit.
 * @param keys which limit and quota a packet counts for
 * @param account only the rules that its sessions need. @default all
 */
export function limitRules(
  keys: { limits: string; quotas: string },
  totalBytesPerSecond: number | undefined,
  account: EgressAccount = { limited: true, bounded: true },
): string[] {
  const overRate = `counter name "${DROP_COUNTERS.rate}" drop`;
  return [
    ...(account.limited ? [`limit name ${keys.limits} ${overRate}`] : []),
    ...(totalBytesPerSecond === undefined ? [] : [`limit name "total" ${overRate}`]),
    ...(account.bounded ? [`quota name ${keys.quotas} counter name "${DROP_COUNTERS.quota}" drop`] : []),
  ];
}

/** Whether sessions have a rate, and a limit of bytes. */
export interface EgressAccount {
  readonly limited: boolean;
  readonly bounded: boolean;
}

/** What sessions have in common that leave by one chain. */
export interface Egress {
  readonly ip: IpFamily;
  /** Source of the packets. */
  readonly source: string;
  /** `fwd` statement of the `netdev` form. */
  readonly hop: string | undefined;
  readonly counterMap: string;
  readonly account: EgressAccount;
}

/** Returns the rules that leave packets to the server. Other protocols than UDP, which nothing forwards, may match them too. */
export function controlRules(at: string, chain: string, { control, maxPayloadBytes }: RelayRules): string[] {
  const tooLong =
    maxPayloadBytes === undefined
      ? []
      : [`udp length > ${count(maxPayloadBytes + UDP_HEADER_BYTES, 'a length')} accept`];
  return [...control.map((pattern) => `${matchOf(pattern)} accept`), ...tooLong].map(
    (rule) => `add rule ${at} ${chain} ${rule}`,
  );
}

/** Returns the rules that lead data to the rules of sessions. */
export function dataRules(at: string, chain: string, { data }: RelayRules, sessions: readonly string[]): string[] {
  if (data === undefined) return sessions.map((rule) => `add rule ${at} ${chain} ${rule}`);
  return [
    `add chain ${at} sessions`,
    ...sessions.map((rule) => `add rule ${at} sessions ${rule}`),
    ...data.map((pattern) => `add rule ${at} ${chain} ${matchOf(pattern)} goto sessions`),
  ];
}

/** Returns the expression for a datagram's addresses and ports. */
export function tupleOf(ip: string): string {
  return `${ip} saddr . udp sport . ${ip} daddr . udp dport`;
}

const UDP_HEADER_BYTES = 8;

/** What has no checksum must not get one (RFC 768, RFC 6935), which a rewritten port would give it. */
export const HAS_CHECKSUM = 'udp checksum != 0';

function matchOf(pattern: PayloadPattern): string {
  const parts = pattern.map(({ offsetBytes, lengthBytes, mask, values }) => {
    const bits = 8 * lengthBytes;
    const field = `@th,${count(8 * (UDP_HEADER_BYTES + offsetBytes), 'an offset')},${bits}`;
    const list = values.map((value) => count(value, 'a value'));
    const masked = mask === undefined ? field : `${field} & ${count(mask, 'a mask')}`;
    return list.length === 1 ? `${masked} == ${list[0]}` : `${masked} { ${list.join(', ')} }`;
  });
  return parts.join(' ');
}
