import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import type { TcpConnection } from '@towpath/net';
import { type SimulatedHost, SimulatedInternet } from '@towpath/net/simulated';
import { describe, expect, test } from 'vitest';
import { decodeMessage, encodeMessage, encodeTcpFrame } from '../src/codec/index.ts';
import { RelayServer } from '../src/relay/server/relay-server.ts';
import { RendezvousServer } from '../src/rendezvous/server/rendezvous-server.ts';
import { TcpDeframer } from '../src/codec/tcp-frame.ts';

const ADDRESS = '198.51.100.1';
const HELLO = encodeTcpFrame(encodeMessage({ type: 'HELLO' }));

async function world(tcpLimits = {}) {
  const clock = new VirtualClock();
  const random = new SeededRandom(7);
  const internet = new SimulatedInternet({ clock, random });
  const { network } = internet.host({ address: ADDRESS });
  const server = await RendezvousServer.listen({ network, clock, random }, { tcpLimits });
  const connect = async (host: SimulatedHost) => {
    const state = { closed: false, answers: 0 };
    const deframer = new TcpDeframer();
    const connection: TcpConnection = await clock.runUntil(
      host.network.connectTcp(
        { address: ADDRESS, port: 32100 },
        {
          onData: (piece) => {
            deframer.push(piece, (message) => {
              if (decodeMessage(message).type === 'HELLO_ACK') state.answers++;
            });
          },
          onClose: () => {
            state.closed = true;
          },
        },
      ),
    );
    return { connection, state };
  };
  return { clock, internet, server, connect };
}

describe('TCP port of a server (A2)', () => {
  test('a newcomer is served while one address holds all that it may have', async () => {
    const { clock, internet, server, connect } = await world({ connections: 40, connectionsPerAddress: 20 });
    const greedy = internet.host();
    for (let i = 0; i < 60; i++) await connect(greedy);
    await clock.advance(100);
    // Connections that have said nothing are limited more tightly than those that have.
    expect(server.metrics).toMatchObject({ tcpConnections: 16, tcp: { unfinished: 16, refused: 44 } });
    const { connection, state } = await connect(internet.host());
    connection.write(HELLO);
    await clock.advance(200);
    expect(state).toEqual({ closed: false, answers: 1 });
    expect(server.metrics).toMatchObject({ tcpConnections: 17, tcp: { unfinished: 16 } });
    await server.close();
  });

  test('when unfinished connections fill it from many addresses, the oldest of them makes room', async () => {
    const { clock, internet, server, connect } = await world({ connections: 12, unfinished: 8 });
    const finished = await connect(internet.host());
    finished.connection.write(HELLO);
    await clock.advance(200);
    const silent = [];
    for (let i = 0; i < 30; i++) silent.push(await connect(internet.host()));
    await clock.advance(200);
    expect(server.metrics).toMatchObject({
      tcpConnections: 9,
      tcp: { unfinished: 8, unfinishedClosed: 22, refused: 0 },
    });
    expect(silent.map(({ state }) => state.closed)).toEqual(silent.map((_, at) => at < 22));
    expect(finished.state).toEqual({ closed: false, answers: 1 });
    await server.close();
  });

  test('a connection that sends its bytes one by one is closed, one that keeps completing messages is not', async () => {
    const { clock, internet, server, connect } = await world();
    const slow = await connect(internet.host());
    const steady = await connect(internet.host());
    steady.connection.write(HELLO);
    for (let at = 0; at < HELLO.length && !slow.state.closed; at++) {
      slow.connection.write(HELLO.slice(at, at + 1));
      await clock.advance(3_000);
      steady.connection.write(HELLO);
    }
    expect(slow.state.closed).toBe(true);
    expect(steady.state.closed).toBe(false);
    expect(server.metrics).toMatchObject({ tcpConnections: 1, tcp: { unfinishedClosed: 1 } });
    // The first message of a connection gives it no right to leave the next one incomplete.
    steady.connection.write(HELLO.slice(0, 5));
    await clock.advance(15_000);
    expect(steady.state.closed).toBe(true);
    await server.close();
  });

  test('the counts of an address are right again when its connections are gone', async () => {
    const { clock, internet, server, connect } = await world({ unfinishedPerAddress: 2, unfinished: 2 });
    const host = internet.host();
    for (let round = 0; round < 5; round++) {
      const pair = [await connect(host), await connect(host)];
      await clock.advance(100);
      expect(server.metrics).toMatchObject({ tcpConnections: 2, tcp: { unfinished: 2, refused: 0 } });
      pair[0]?.connection.write(HELLO);
      await clock.advance(100);
      for (const { connection } of pair) connection.destroy();
      await clock.advance(100);
      expect(server.metrics).toMatchObject({ tcpConnections: 0, tcp: { unfinished: 0 } });
    }
    await server.close();
  });

  test('garbage, silence and half a frame end with the connection and nothing else, at both servers', async () => {
    const { clock, internet, server } = await world();
    const random = new SeededRandom(9);
    const { network } = internet.host({ address: '198.51.100.2' });
    await using relay = await RelayServer.listen({ network, clock, random }, { sessionPorts: 1 });
    const host = internet.host();
    const ends = [
      { address: ADDRESS, port: 32100 },
      { address: '198.51.100.2', port: relay.endpoint.port },
    ];
    const pieces = [
      random.bytes(8),
      new TextEncoder().encode('GET / HTTP/1.1\r\n\r\n'),
      HELLO.slice(0, 3),
      new Uint8Array(0),
    ];
    let closed = 0;
    for (const end of ends) {
      for (const piece of pieces) {
        const connection = await clock.runUntil(
          host.network.connectTcp(end, { onData: () => {}, onClose: () => closed++ }),
        );
        if (piece.length > 0) connection.write(piece);
      }
    }
    await clock.advance(15_000);
    expect(closed).toBe(8);
    expect([server.metrics.tcpConnections, relay.metrics.tcpConnections]).toEqual([0, 0]);
    await server.close();
    await clock.runUntil(relay.close());
    await clock.advance(5_000);
    expect(clock.pendingTimers).toBe(0);
  });
});
