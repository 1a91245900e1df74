import type { VirtualClock } from '@towpath/core/testing';
import type { Endpoint, Network } from '@towpath/net';

/** Returns what port `internalPort` of `inside` receives when `outside`, to which it never sent, sends to `external`. */
export async function reach(
  clock: VirtualClock,
  hosts: { inside: Network; outside: Network },
  { internalPort, external }: { internalPort: number; external: Endpoint },
): Promise<string[]> {
  const heard: string[] = [];
  const onMessage = (data: Uint8Array) => void heard.push(String(Buffer.from(data)));
  const inside = await hosts.inside.bindUdp({ port: internalPort, onMessage });
  const outside = await hosts.outside.bindUdp({ onMessage: () => {} });
  outside.send(Buffer.from('hello'), external);
  await clock.advance(500);
  await inside.close();
  await outside.close();
  return heard;
}
