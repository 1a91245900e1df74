/** Packets that established users sent, and how many of them arrived. */
export interface Counts {
  /** Requests of a client that the rendezvous knows. */
  asked: number;
  answered: number;
  /** Packets of a relayed session, both directions together. */
  sent: number;
  forwarded: number;
}

/** Results of clients that were new to the servers. */
export interface NewClients {
  tookMs: number[];
  failures: string[];
}
