import type { Endpoint } from '@towpath/net';

/** What the splice does for one address and port of a peer; both directions are switched by themselves. */
export interface SpliceEntry {
  /** What WireGuard sends to `remote` leaves from the path's port. Harmless while WireGuard sends to the hop. */
  addOutbound(): Promise<void>;
  removeOutbound(): Promise<void>;
  /** What arrives from `remote` on the path's port reaches WireGuard and not the path socket. */
  addInbound(): Promise<void>;
  removeInbound(): Promise<void>;
  /** Packets that the two rules have changed for this peer. */
  counters(): Promise<{ readonly inboundPackets: number; readonly outboundPackets: number }>;
}

/** The kernel's rules that carry WireGuard's packets, as the data plane uses them. */
export interface SpliceControl {
  /** False when nftables is missing or refused the table. */
  readonly available: boolean;
  /**
   * Prepares an entry; nothing is changed yet.
   * @returns undefined when the kernel's route to `remote` does not leave from `local`'s address.
   */
  entry(path: { readonly local: Endpoint; readonly remote: Endpoint }): Promise<SpliceEntry | undefined>;
  /** Calls `listener` when the rules were removed by somebody else; all entries are void then. */
  onLost(listener: () => void): () => void;
}
