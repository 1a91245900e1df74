/**
 * Asks a relay for two relayed addresses, sends between them and prints what arrived:
 * `node relay-pair.ts SERVER PORT udp|tcp|tls USER PASSWORD [ASKED…]`. Each of the addresses ASKED gets a Binding request.
 */
import { SystemClock, SystemRandom } from '@towpath/core';
import { type Endpoint, NodeNetwork } from '@towpath/net';
import { StunClient, TurnAllocation } from '@towpath/stun';

/** What the program prints as JSON. */
export interface RelayPairResult {
  readonly relayed: readonly Endpoint[];
  /** Source address of what each of the two received. */
  readonly heardFrom: readonly (Endpoint | undefined)[];
  /** For each address asked: where the answer came from, or the code of the error. */
  readonly answers: Readonly<Record<string, string>>;
}

const TRIES = 50;
const INTERVAL_MS = 100;

const [address = '', port = '', transport = 'udp', username = '', password = '', ...asked] = process.argv.slice(2);
const clock = new SystemClock();
const components = { network: new NodeNetwork(), clock, random: new SystemRandom() };
const [serverAddress = address] = await components.network.resolve(address, { family: 4 });
const heardFrom: (Endpoint | undefined)[] = [undefined, undefined];

const one = (index: number) =>
  TurnAllocation.connect(components, {
    server: { address: serverAddress, port: Number(port) },
    transport: transport as 'udp' | 'tcp' | 'tls',
    tls: { serverName: address },
    credentials: { username, password },
    handlers: {
      onData: (_data, from) => {
        heardFrom[index] = from;
      },
    },
  });

const answers: Record<string, string> = {};
for (const each of asked) {
  try {
    await using client = await StunClient.open(components, {
      server: { address: each, port: Number(port) },
      maxSends: 3,
    });
    answers[each] = (await client.binding()).from.address;
  } catch (error) {
    answers[each] = (error as { code: string }).code;
  }
}
const pair = username === '' ? [] : await Promise.all([one(0), one(1)]);
const relayed = pair.map((allocation) => allocation.relayed[0]!);
for (const [index, allocation] of pair.entries()) await allocation.permit([relayed[1 - index]!.address]);
for (let tries = 0; tries < TRIES && pair.length > 0 && heardFrom.includes(undefined); tries++) {
  for (const [index, allocation] of pair.entries()) allocation.send(Buffer.from('hello'), relayed[1 - index]!);
  await clock.sleep(INTERVAL_MS);
}
for (const allocation of pair) await allocation.close();
const result: RelayPairResult = { relayed, heardFrom, answers };
console.log(JSON.stringify(result));
