import type { Connection } from './connections.ts';
import type { ConversationSummary, DrwAckCounts, DrwCounts } from './decoded-message.ts';

/**
 * Counts of all streams, sorted by their names: `rx/ch0`, and `rx/ch0/lport40722` when there are several connections.
 */
export function streamCounts(connections: readonly Connection[]): {
  drw: ConversationSummary['drw'];
  drwAck: ConversationSummary['drw_ack'];
} {
  const used = connections.filter(({ streams, acks }) => streams.size > 0 || acks.size > 0);
  const drw: [string, DrwCounts][] = [];
  const drwAck: [string, DrwAckCounts][] = [];
  const taken = new Map<string, number>();
  for (const { localPort, streams, acks } of used) {
    const suffix = used.length > 1 ? suffixOf(localPort, taken) : '';
    for (const { id, seen, duplicates, payloadBytes } of streams.values()) {
      if (seen.unique === 0) continue;
      const { unique, lowest: first, highest: last } = seen;
      drw.push([
        `${id.direction}/ch${id.channel}${suffix}`,
        {
          unique_indices: unique,
          first,
          last,
          missing: last - first + 1 - unique,
          duplicates,
          payload_bytes: payloadBytes,
        },
      ]);
    }
    for (const list of acks.values()) {
      const counts = list.counts();
      if (counts !== undefined) drwAck.push([`${list.direction}/ch${list.channel}${suffix}`, counts]);
    }
  }
  return { drw: sorted(drw), drwAck: sorted(drwAck) };
}

/** A port used for several sessions gets a number appended. */
function suffixOf(localPort: number | undefined, taken: Map<string, number>): string {
  if (localPort === undefined) return '';
  const name = `/lport${localPort}`;
  const times = (taken.get(name) ?? 0) + 1;
  taken.set(name, times);
  return times === 1 ? name : `${name}#${times}`;
}

function sorted<T>(entries: [string, T][]): Record<string, T> {
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
}
