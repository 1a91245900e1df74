/**
 * What the members have in common. Standard input: one line, the address of the member to connect to. Standard output: JSON lines
 * `{ ready }` with the own address, `{ echoMs }`, `{ directMs }` and `{ error }`; times run from the line of input.
 */
import { createInterface } from 'node:readline';

export const options = JSON.parse(process.argv[2]);

export function print(line) {
  console.log(JSON.stringify(line));
}

/** Calls `connect` with the address that comes in, and tells what it calls back with. */
export function serve(address, connect) {
  createInterface({ input: process.stdin }).on('line', (target) => {
    const startedMs = performance.now();
    const since = () => performance.now() - startedMs;
    const seen = { echo: () => print({ echoMs: since() }), direct: () => print({ directMs: since() }) };
    connect(target, seen).catch((error) => print({ error: String(error?.message ?? error) }));
  });
  print({ ready: address });
}

export async function until(holds, ms) {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, ms));
}

process.on('uncaughtException', (error) => print({ error: String(error?.message ?? error) }));
