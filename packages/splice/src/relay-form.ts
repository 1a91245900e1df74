import type { ElementChange, MapRef } from './nft-commands.ts';
import type { TablesDefinition } from './owned-tables.ts';
import type { Egress, RelayForm, RelayRules } from './relay-rules.ts';
import type { Endpoint, IpFamily } from './values.ts';

/** One end of a session: where it is, and which of the relay's own addresses and ports it sends to. */
export interface RelayEnd {
  readonly remote: Endpoint;
  readonly local: Endpoint;
}

/** One direction of a session. */
export interface Direction {
  /** Tells directions apart: even from `a`, odd from `b`, half of it is the session's number. */
  readonly mark: number;
  readonly ip: IpFamily;
  readonly from: RelayEnd;
  readonly to: RelayEnd;
}

/** The rules and elements of one {@link RelayForm}. */
export interface FormRules {
  readonly form: RelayForm;
  /** Maps whose elements belong to sessions, without those with counters. */
  readonly maps: readonly string[];
  /** A direction with a larger mark cannot be told from others. */
  readonly maxMark: number;
  definition(rules: RelayRules): TablesDefinition;
  /**
   * Returns the rules of a chain that sessions leave by, in lines. One rule rewrites all: each further one, and each look-up, costs
   * every packet.
   */
  egressRules(egress: Egress, totalBytesPerSecond: number | undefined): string;
  /** @param egress name of the chain that it leaves by. */
  elements(direction: Direction, egress: string): ElementChange[];
  /** Whether packets are forwarded because of this element. */
  isEntry(element: MapRef): boolean;
  /** Returns the maps of limits and quotas, and the direction's key in them. */
  account(direction: Direction): { limits: string; quotas: string; key: string };
  /** Returns the mark of a direction from the key of its counter. */
  markOf(counterKey: string): number;
}

/** Returns the key of a datagram's addresses and ports. */
export function tupleKey(from: Endpoint, to: Endpoint): string {
  return `${from.address} . ${from.port} . ${to.address} . ${to.port}`;
}
