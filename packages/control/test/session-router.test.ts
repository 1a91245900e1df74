import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { authorByMember, toBase64, verifySignature } from '@towpath/membership';
import { describe, expect, test } from 'vitest';
import { ControlService } from '../src/server/service.ts';
import type { SessionSink } from '../src/server/session.ts';
import { MemoryStore } from '../src/store/memory-store.ts';
import type { ClientMessage, ServerMessage } from '../src/wire/messages.ts';
import { type LoadParty, makeParty } from './load/swarm.ts';

/** A store whose reads and subscriptions take a while, differently long each time, as on a cluster. */
class SlowStore extends MemoryStore {
  readonly #clock: VirtualClock;
  readonly #random: SeededRandom;

  constructor(clock: VirtualClock, random: SeededRandom) {
    super({ clock });
    this.#clock = clock;
    this.#random = random;
  }

  override async readLog(party: string, from: number, limit: number): Promise<Uint8Array[]> {
    const found = await super.readLog(party, from, limit);
    // The answer takes its time: what it says may be old when it comes.
    await this.#clock.sleep(this.#random.integer(0, 9));
    return found;
  }

  override async subscribe(channel: string, handler: (data: Uint8Array) => void): Promise<() => void> {
    await this.#clock.sleep(this.#random.integer(0, 9));
    return super.subscribe(channel, handler);
  }
}

/** A node's raw connection to one service. */
function connect(service: ControlService, key: Uint8Array) {
  const received: ServerMessage[] = [];
  const sink: SessionSink = {
    send: (text) => received.push(JSON.parse(text)) > 0,
    drained: async () => {},
    close: () => service.detach(session),
  };
  const session = service.attach(key, 'here', sink);
  const send = (message: ClientMessage) => service.receive(session, message);
  const ofType = <T extends ServerMessage['type']>(type: T) =>
    received.filter((message): message is ServerMessage & { type: T } => message.type === type);
  return { session, received, send, ofType };
}

async function scene(seed: number, members = 3, servers = 2) {
  const clock = new VirtualClock();
  const random = new SeededRandom(seed);
  const store = new SlowStore(clock, random);
  const party: LoadParty = makeParty(members, { clock, random });
  for (const [at, { bytes }] of party.statements.entries()) await store.append(party.id, at, bytes);
  const components = { clock, random, store, verify: verifySignature };
  const services: ControlService[] = [];
  for (let at = 0; at < servers; at++) services.push(await clock.runUntil(ControlService.start(components)));
  const close = async () => {
    for (const service of services) await clock.runUntil(service.close());
  };
  return { clock, random, store, party, services, close };
}

const keyOf = (party: LoadParty, at: number) => party.nodes[at]!.signing.publicKey;
const idOf = (party: LoadParty, at: number) => party.state.memberByKey(keyOf(party, at))!.id;

describe('a member that is removed while it is on its way in', () => {
  test.each(Array.from({ length: 40 }, (_, seed) => seed + 1))(
    'is outside afterwards, whatever was waited for at that moment (B5) (seed %i)',
    async (seed) => {
      const { clock, random, party, services, close } = await scene(seed);
      const [here, there] = [services[0]!, services[1]!];
      const victim = connect(here, keyOf(party, 1));
      const following = victim.send({ type: 'follow', party: party.id, next: 0 });
      // Another one asks who is there at the same time, which opens and closes the party's channel.
      const asking = here.describe(party.id, keyOf(party, 0));
      await clock.advance(random.integer(0, 30));
      const removal = authorByMember(
        party.state,
        party.nodes[0]!.signing,
        { type: 'remove', member: idOf(party, 1) },
        clock.wallTime(),
      );
      await clock.runUntil(there.append(party.id, removal.bytes, keyOf(party, 0)));
      await clock.runUntil(Promise.all([following, asking]));
      await clock.advance(1_000);
      expect(here.counts.followedParties).toBe(0);
      const at = victim.received.findLastIndex(({ type }) => type === 'refused');
      expect(victim.received[at]).toEqual({ type: 'refused', party: party.id, reason: 'not-a-member' });
      const other = connect(there, keyOf(party, 2));
      await clock.runUntil(other.send({ type: 'follow', party: party.id, next: 0 }));
      await clock.advance(1_000);
      expect(victim.received.slice(at + 1)).toEqual([]);
      await close();
    },
  );
});

test('a channel that somebody closes stays open for whoever is about to enter it (B5)', async () => {
  const { clock, party, services, close } = await scene(1, 3, 1);
  const service = services[0]!;
  const [ann, ben] = [connect(service, keyOf(party, 0)), connect(service, keyOf(party, 1))];
  const entering = ann.send({ type: 'follow', party: party.id, next: 0 });
  for (let at = 0; at < 20; at++) {
    service.describe(party.id, keyOf(party, 2)).catch(() => {});
    await clock.advance(2);
  }
  await clock.runUntil(Promise.all([entering, ben.send({ type: 'follow', party: party.id, next: 0 })]));
  await clock.advance(1_000);
  const checkpoint = authorByMember(party.state, party.nodes[0]!.signing, { type: 'checkpoint' }, clock.wallTime());
  await clock.runUntil(service.append(party.id, checkpoint.bytes, keyOf(party, 0)));
  await clock.advance(1_000);
  for (const { ofType } of [ann, ben])
    expect(ofType('statements').at(-1)!.statements).toEqual([toBase64(checkpoint.bytes)]);
  await close();
});

describe('a signal', () => {
  async function connectedPair(across: boolean) {
    const all = await scene(5);
    const { clock, party, services } = all;
    const ann = connect(services[0]!, keyOf(party, 0));
    const ben = connect(services[across ? 1 : 0]!, keyOf(party, 1));
    for (const node of [ann, ben]) await clock.runUntil(node.send({ type: 'follow', party: party.id, next: 0 }));
    await clock.advance(1_000);
    const signal = async (id: number) => {
      await ann.send({ type: 'signal', id, party: party.id, to: idOf(party, 1), payload: 'AAAA' });
      await clock.advance(50);
    };
    return { ...all, ann, ben, signal };
  }

  test.each([false, true])(
    'is delivered when its receiver says so, not before (A7) (across servers: %s)',
    async (across) => {
      const { clock, ann, ben, signal, services, close } = await connectedPair(across);
      await signal(1);
      expect(ann.ofType('delivered')).toEqual([]);
      await ben.send({ type: 'received', ack: ben.ofType('signal')[0]!.ack, taken: true });
      await clock.advance(50);
      expect(ann.ofType('delivered')).toEqual([{ type: 'delivered', id: 1 }]);
      expect(services[0]!.counts).toMatchObject({ signals: 1, undelivered: 0 });

      await signal(2);
      await ben.send({ type: 'received', ack: ben.ofType('signal')[1]!.ack, taken: false });
      await clock.advance(50);
      expect(ann.ofType('undelivered')).toEqual([{ type: 'undelivered', id: 2, reason: 'refused' }]);

      await signal(3);
      await clock.advance(4_000);
      expect(ann.ofType('undelivered').at(-1)).toEqual({ type: 'undelivered', id: 3, reason: 'no-answer' });
      await ben.send({ type: 'received', ack: ben.ofType('signal')[2]!.ack, taken: true });
      expect(ann.ofType('delivered')).toHaveLength(1);

      await signal(4);
      services[across ? 1 : 0]!.detach(ben.session);
      await clock.advance(50);
      expect(ann.ofType('undelivered').at(-1)).toEqual({ type: 'undelivered', id: 4, reason: 'peer-offline' });
      await close();
    },
  );

  test('that the bus loses, or whose answer it loses, is not lost in silence (A7)', async () => {
    const { clock, store, ann, ben, signal, close } = await connectedPair(true);
    const publish = store.publish.bind(store);
    const lose = (text: string) => {
      store.publish = (channel, data) => {
        if (!new TextDecoder().decode(data).includes(text)) publish(channel, data);
      };
    };
    lose('"kind":"signal"');
    await signal(1);
    expect(ben.ofType('signal')).toEqual([]);
    await clock.advance(4_000);
    lose('"kind":"signalled"');
    await signal(2);
    await ben.send({ type: 'received', ack: ben.ofType('signal')[0]!.ack, taken: true });
    await clock.advance(4_000);
    expect(ann.ofType('undelivered')).toEqual([
      { type: 'undelivered', id: 1, reason: 'no-answer' },
      { type: 'undelivered', id: 2, reason: 'no-answer' },
    ]);
    store.publish = publish;
    await close();
  });

  test('is told to be undelivered when its receiver acknowledges nothing at all, and costs bounded memory (A6, A7)', async () => {
    const { clock, ann, ben, party, close } = await connectedPair(false);
    const count = 1_500;
    for (let id = 1; id <= count; id++) {
      await ann.send({ type: 'signal', id, party: party.id, to: idOf(party, 1), payload: 'AAAA' });
      if (id % 500 === 0) await clock.advance(600);
    }
    expect(ben.ofType('signal').length).toBeLessThanOrEqual(1_024);
    await clock.advance(5_000);
    expect(ann.ofType('undelivered')).toHaveLength(count);
    await close();
  });
});

test('a member that announces without end reaches the others at a limited rate, its last words included (A6)', async () => {
  const { clock, party, services, close } = await scene(1, 2, 1);
  const [talker, listener] = [connect(services[0]!, keyOf(party, 0)), connect(services[0]!, keyOf(party, 1))];
  for (const { send } of [talker, listener]) await clock.runUntil(send({ type: 'follow', party: party.id, next: 0 }));
  await clock.advance(1_000);
  const before = listener.ofType('presence').length;
  const text = (at: number) => toBase64(new TextEncoder().encode(`announcement ${at}`));
  for (let at = 0; at < 1_000; at++) {
    void talker.send({ type: 'announce', party: party.id, announcement: text(at) });
    await clock.advance(10);
  }
  await clock.advance(5_000);
  const heard = listener.ofType('presence').slice(before);
  expect(heard.length).toBeGreaterThan(10);
  expect(heard.length).toBeLessThanOrEqual(40);
  expect(heard.at(-1)?.entries).toMatchObject([{ peer: idOf(party, 0), announcement: text(999) }]);
  await close();
  await clock.advance(5_000);
  expect(clock.pendingTimers).toBe(0);
});

test('a node that holds several parties has a connection for each: only one of the same party, or of none, is replaced', async () => {
  const { clock, party, services, close } = await scene(1, 2, 1);
  const key = keyOf(party, 0);
  const follow = async () => {
    const connection = connect(services[0]!, key);
    await clock.runUntil(connection.send({ type: 'follow', party: party.id, next: 0 }));
    return connection;
  };
  const first = await follow();
  const other = connect(services[0]!, key);
  expect([first.session.closed, other.session.closed]).toEqual([false, false]);
  expect(services[0]!.counts.sessions).toBe(2);
  const second = await follow();
  expect([first.session.closed, other.session.closed, second.session.closed]).toEqual([true, true, false]);
  expect(services[0]!.counts.sessions).toBe(1);
  await close();
});
