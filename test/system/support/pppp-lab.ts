/** Ends of relayed PPPP sessions, as processes inside hosts of a lab. */
import { createInterface } from 'node:readline';
import type { LabHost } from './lab.ts';

/** The program of both ends of a session. Arguments: relay, port, packets. */
export const PPPP_ENDS: string = new URL('./pppp-ends.ts', import.meta.url).pathname;
const END = new URL('./pppp-end.ts', import.meta.url).pathname;

/** Starts one end of a session, that does what it is told. */
export async function ppppEnd(
  host: LabHost,
  ...args: (string | number)[]
): Promise<{ session: { magic: number; port: number }; ask(line: string): Promise<Record<string, number>> }> {
  const child = host.spawn(process.execPath, [END, ...args.map(String)], {}, 'pipe');
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  const read = async () => JSON.parse((await lines.next()).value ?? '{}');
  const session = (await read()) as { magic: number; port: number };
  const ask = (line: string): Promise<Record<string, number>> => {
    child.stdin!.write(`${line}\n`);
    return read();
  };
  return { session, ask };
}
