import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

/**
 * Below Linux's ephemeral ports (32,768 and more), which the kernel gives to any socket at any moment: one of those that is
 * free now may belong to another program when it is used.
 */
const FIRST = 20_000;
/** Ports of one worker of the test runner; workers run beside each other. */
const PER_WORKER = 500;
const WORKERS = 20;

const worker = Number(process.env.VITEST_POOL_ID ?? process.pid) % WORKERS;
const first = FIRST + worker * PER_WORKER;
let next = process.pid % PER_WORKER;
/** Not beside each other: a server may take the port behind its own too (RFC 5780). Coprime with PER_WORKER. */
const STEP = 7;

/** A port of 127.0.0.1 that nobody uses, over UDP or TCP, and that no other caller is given. @throws when all are in use */
export async function freePort(): Promise<number> {
  for (let tried = 0; tried < PER_WORKER; tried++) {
    next = (next + STEP) % PER_WORKER;
    const port = first + next;
    if ((await isFreeForTcp(port)) && (await isFreeForUdp(port))) return port;
  }
  throw new Error(`All ports from ${first} to ${first + PER_WORKER - 1} are in use.`);
}

export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) ports.push(await freePort());
  return ports;
}

function isFreeForTcp(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '0.0.0.0', () => server.close(() => resolve(true)));
  });
}

function isFreeForUdp(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.once('error', () => {
      socket.close();
      resolve(false);
    });
    socket.bind(port, '0.0.0.0', () => socket.close(() => resolve(true)));
  });
}
