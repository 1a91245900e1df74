/** What those who are there already have sent, and what of it got through. */
export interface Counts {
  /** Questions of a client that the rendezvous knows. */
  asked: number;
  answered: number;
  /** Packets of a relayed session, both directions together. */
  sent: number;
  forwarded: number;
}

/** How clients fared that the servers had not heard of. */
export interface NewClients {
  tookMs: number[];
  failures: string[];
}
