import type { CapturedEndpoint, CaptureDirection } from '@towpath/net/capture';
import { AcknowledgedIndices } from './acknowledgements.ts';
import { ChannelStream, type StreamHandlers } from './channel-stream.ts';
import { MAX_INDEX_PAGES, type PageBudget } from './index-set.ts';
import { RunKeeper } from './run-keeper.ts';

/** Most streams and lists of acknowledgements of all connections; each camera in use needs about eight. */
export const MAX_STREAMS = 16_384;

/** Most endpoints whose connection is stored. */
const MAX_REMEMBERED_ENDPOINTS = 65_536;

/** One client's socket: its traffic is one conversation, until the port is used for another. */
export interface Connection {
  readonly number: number;
  readonly localPort: number | undefined;
  /** A handshake or a close came since the last new data, so that indices may start again. */
  handshake: boolean;
  /** Another session has replaced it on the port. */
  over: boolean;
  readonly streams: Map<number, ChannelStream>;
  readonly acks: Map<number, AcknowledgedIndices>;
}

/** All connections of a recording, found by the client's end. */
export class Connections {
  readonly all: Connection[] = [];
  readonly #byKey = new Map<string, Connection>();
  readonly #byEndpoint = new Map<CapturedEndpoint, Connection>();
  readonly #handlers: StreamHandlers;
  readonly #keeper = new RunKeeper();
  readonly #budget: PageBudget = { left: MAX_INDEX_PAGES };
  #streams = 0;

  constructor(handlers: StreamHandlers) {
    this.#handlers = handlers;
  }

  /** @param local the client's end */
  of(local: CapturedEndpoint): Connection {
    const known = this.#byEndpoint.get(local);
    if (known !== undefined && !known.over) return known;
    const connection = this.#byKey.get(keyOfEndpoint(local)) ?? this.#create(local);
    if (this.#byEndpoint.size >= MAX_REMEMBERED_ENDPOINTS) this.#byEndpoint.clear();
    this.#byEndpoint.set(local, connection);
    return connection;
  }

  /** Ends the connection of this client endpoint and begins another one. */
  restart(local: CapturedEndpoint): Connection {
    const old = this.of(local);
    old.over = true;
    this.settle(old);
    return this.#create(local);
  }

  /** Undefined when the limit is reached. */
  stream(connection: Connection, direction: CaptureDirection, channel: number): ChannelStream | undefined {
    const key = keyOf(direction, channel);
    let stream = connection.streams.get(key);
    if (stream === undefined && this.#streams < MAX_STREAMS) {
      this.#streams++;
      const id = { connection: connection.number, localPort: connection.localPort, direction, channel };
      stream = new ChannelStream(id, this.#handlers, this.#keeper, this.#budget);
      connection.streams.set(key, stream);
    }
    return stream;
  }

  /** Undefined when the limit is reached. */
  acks(connection: Connection, direction: CaptureDirection, channel: number): AcknowledgedIndices | undefined {
    const key = keyOf(direction, channel);
    let acks = connection.acks.get(key);
    if (acks === undefined && this.#streams < MAX_STREAMS) {
      this.#streams++;
      acks = new AcknowledgedIndices(connection.number, direction, channel);
      connection.acks.set(key, acks);
    }
    return acks;
  }

  settle(connection: Connection): void {
    for (const stream of connection.streams.values()) stream.settle();
  }

  #create(local: CapturedEndpoint): Connection {
    const connection: Connection = {
      number: this.all.length,
      localPort: local.port,
      handshake: false,
      over: false,
      streams: new Map(),
      acks: new Map(),
    };
    this.all.push(connection);
    this.#byKey.set(keyOfEndpoint(local), connection);
    return connection;
  }
}

/** A recorder that did not store the client's port gives one connection. */
function keyOfEndpoint({ address, port }: CapturedEndpoint): string {
  return port === undefined ? '' : `${address ?? ''} ${port}`;
}

function keyOf(direction: CaptureDirection, channel: number): number {
  return direction === 'tx' ? channel : 256 + channel;
}
