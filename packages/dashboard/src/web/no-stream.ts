/** Stands in for Node's `stream`, of which jmuxer uses this in Node alone. */
export class Duplex {}
