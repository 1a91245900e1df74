import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { expect, test } from 'vitest';
import { ControlClient } from '../src/client/control-client.ts';
import { LocalTransport } from '../src/client/local-transport.ts';
import { ControlError } from '../src/control-error.ts';
import { verifyLog, verifySignature } from '@towpath/membership';
import { generateNodeIdentity } from '../src/identity/node-identity.ts';
import { ControlService } from '../src/server/service.ts';
import { MemoryStore } from '../src/store/memory-store.ts';

const SEEDS = Number(process.env.TOWPATH_SEEDS ?? 6);
/** What an action may end with when others were faster; anything else is a fault. */
const EXPECTED = new Set([
  'invalid-statement',
  'not-a-member',
  'forbidden',
  'invalid-invite',
  'conflict',
  'peer-offline',
  'server-unavailable',
]);

test.each(Array.from({ length: SEEDS }, (_, seed) => seed + 1))(
  'whatever members do at the same time, all of them end up with one verified party (C5, C12) (seed %i)',
  async (seed) => {
    const random = new SeededRandom(seed);
    const clock = new VirtualClock();
    const store = new MemoryStore({ clock });
    const components = { clock, random, store, verify: verifySignature };
    const services = [
      await ControlService.start(components, { founding: 'open' }),
      await ControlService.start(components, { founding: 'open' }),
    ];
    const suspicions: string[] = [];
    const open = async () => {
      const service = services[random.integer(0, 1)]!;
      const transport = new LocalTransport({ clock, service });
      const client = await ControlClient.open({ ...components, transport, identity: generateNodeIdentity(random) });
      client.events.on('suspicion', ({ message }) => suspicions.push(message));
      return client;
    };
    const clients = [await open()];
    const founder = clients[0]!;
    const { id, partyKey } = await clock.runUntil(founder.createParty({ name: 'party', memberName: 'founder' }));
    const invite = await clock.runUntil(founder.invite(id, { maxUses: 25 }));
    const anyone = () => clients[random.integer(0, clients.length - 1)]!;
    const someone = () => {
      const peers = founder.party(id)!.peers;
      return peers[random.integer(0, Math.max(0, peers.length - 1))]?.id ?? founder.party(id)!.self.id;
    };
    const actions: ((client: ControlClient) => Promise<unknown>)[] = [
      async () => {
        const client = await open();
        clients.push(client);
        await client.join(invite, { memberName: `n${clients.length}` });
      },
      (client) => client.remove(id, someone()),
      (client) => client.leave(id),
      (client) => client.setRole(id, someone(), random.next() < 0.5 ? 'admin' : 'member'),
      (client) => client.invite(id),
      (client) => client.rotateKeys(generateNodeIdentity(random)),
      (client) => client.signal(id, someone(), new Uint8Array([1])),
    ];
    const outcomes: Promise<void>[] = [];
    for (let at = 0; at < 60; at++) {
      // Joins are as likely as all the rest, so that there is somebody to act.
      const action = actions[random.next() < 0.5 ? 0 : random.integer(1, actions.length - 1)]!;
      outcomes.push(
        action(anyone()).then(
          () => {},
          (error: unknown) => {
            const code = error instanceof ControlError ? error.code : String(error);
            expect(EXPECTED.has(code), String(error)).toBe(true);
          },
        ),
      );
      if (random.next() < 0.3) await clock.advance(random.integer(0, 30));
    }
    await clock.runUntil(Promise.all(outcomes));
    await clock.advance(5_000);
    expect(suspicions).toEqual([]);
    const verdict = verifyLog(partyKey, await store.readLog(id, 0, 10_000));
    expect(verdict.ok).toBe(true);
    const { state } = verdict;
    const joined = [...state.members.values()]
      .map((member) => [member.joinedAtSequence, member.id] as const)
      .sort(([a], [b]) => a - b);
    expect(new Set(joined.map(([sequence]) => sequence)).size).toBe(state.members.size);
    const inside = clients.filter((client) => client.party(id) !== undefined);
    expect(inside).toHaveLength(state.members.size);
    for (const client of inside) {
      const view = client.party(id)!;
      expect(view.head).toEqual(state.head);
      expect([view.self, ...view.peers].map((member) => member.virtualAddress).sort()).toEqual(
        [...state.members.values()].map((member) => member.virtualAddress).sort(),
      );
      const order = [view.self, ...view.peers].sort((a, b) => a.joinedAtSequence - b.joinedAtSequence);
      expect(order.map((member) => [member.joinedAtSequence, member.id])).toEqual(joined);
      expect(view.peers.every((peer) => peer.online)).toBe(true);
    }
    expect(new Set([...state.members.values()].map((member) => member.virtualAddress)).size).toBe(state.members.size);
    for (const client of clients) await client.close();
    for (const service of services) await service.close();
    await clock.advance(1);
    expect(clock.pendingTimers).toBe(0);
  },
);
