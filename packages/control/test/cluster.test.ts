import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { describe, expect, test } from 'vitest';
import { ControlClient } from '../src/client/control-client.ts';
import { LocalTransport } from '../src/client/local-transport.ts';
import type { Relay } from '../src/control-plane.ts';
import { toBase64, verifySignature } from '@towpath/membership';
import { generateNodeIdentity } from '../src/identity/node-identity.ts';
import { ControlService, type ControlServiceOptions } from '../src/server/service.ts';
import { MemoryStore } from '../src/store/memory-store.ts';

/** Servers that share a store, in one process, on one virtual clock. */
async function cluster(count: number, init: ControlServiceOptions = {}) {
  const clock = new VirtualClock();
  const random = new SeededRandom(4);
  const store = new MemoryStore({ clock });
  // The bus of a server that is "killed" goes dead at once, as a killed process does.
  const dead = new Set<number>();
  const services: ControlService[] = [];
  for (let at = 0; at < count; at++) {
    const own = new Proxy(store, {
      get: (_, key) =>
        key === 'publish' && dead.has(at)
          ? () => {}
          : (Reflect.get(store, key).bind?.(store) ?? Reflect.get(store, key)),
    });
    services.push(
      await ControlService.start({ clock, random, store: own, verify: verifySignature }, { founding: 'open', ...init }),
    );
  }
  const node = async (at: number) =>
    ControlClient.open({
      clock,
      random,
      identity: generateNodeIdentity(random),
      transport: new LocalTransport({ clock, service: services[at]! }),
      verify: verifySignature,
    });
  return { clock, random, services, node, kill: (at: number) => dead.add(at), revive: (at: number) => dead.delete(at) };
}

async function twoMembers(count = 2) {
  const rig = await cluster(count);
  const [ann, bob] = [await rig.node(0), await rig.node(1)];
  const { id } = await rig.clock.runUntil(ann.createParty({ name: 'camp', memberName: 'Ann' }));
  const invite = await rig.clock.runUntil(ann.invite(id, { maxUses: 9 }));
  await rig.clock.runUntil(bob.join(invite, { memberName: 'Bob' }));
  await rig.clock.advance(500);
  return { ...rig, ann, bob, id, invite };
}

describe('control servers on one store', () => {
  test('know each other, and show members of one to members of another (C12)', async () => {
    const { clock, services, ann, bob, id } = await twoMembers(3);
    await clock.advance(2_000);
    expect(services.map((service) => service.counts.servers)).toEqual([3, 3, 3]);
    expect(ann.party(id)!.peers).toMatchObject([{ name: 'Bob', online: true }]);
    expect(bob.party(id)!.peers).toMatchObject([{ name: 'Ann', online: true }]);
  });

  test('count the members of a server that fell silent as gone, and of one that said goodbye at once (C12)', async () => {
    const { clock, services, kill, ann, bob, id, node, invite } = await twoMembers(3);
    const cleo = await node(2);
    await clock.runUntil(cleo.join(invite, { memberName: 'Cleo' }));
    await clock.advance(500);
    const online = () =>
      ann
        .party(id)!
        .peers.filter((peer) => peer.online)
        .map((peer) => peer.name);
    expect(online()).toEqual(['Bob', 'Cleo']);
    kill(1);
    await clock.advance(4_000);
    expect(online()).toEqual(['Bob', 'Cleo']);
    await clock.advance(6_000);
    expect(online()).toEqual(['Cleo']);
    await services[2]!.close();
    await clock.advance(100);
    expect(online()).toEqual([]);
    expect(bob.party(id)!.peers).toHaveLength(2);
  });

  test('find each other again after one was held up for long (C12)', async () => {
    const { clock, kill, revive, ann, bob, id } = await twoMembers();
    kill(1);
    await clock.advance(10_000);
    expect(ann.party(id)!.peers[0]!.online).toBe(false);
    revive(1);
    await clock.advance(2_500);
    expect(ann.party(id)!.peers[0]!.online).toBe(true);
    await clock.runUntil(ann.signal(id, bob.party(id)!.self.id, new Uint8Array([1])));
  });

  test('push what one of them appended to the nodes of all (C12)', async () => {
    const { clock, ann, bob, id } = await twoMembers();
    await clock.runUntil(ann.remove(id, bob.party(id)!.self.id));
    await clock.advance(100);
    expect(bob.parties()).toEqual([]);
  });

  test('answer a signal to a node that has just left another server', async () => {
    const { clock, ann, bob, id, services, kill } = await twoMembers();
    const bobId = bob.party(id)!.self.id;
    await clock.runUntil(ann.signal(id, bobId, new Uint8Array([1])));
    // The other server dies without a word: Bob still looks online, nobody answers.
    kill(1);
    const failure = clock.runUntil(ann.signal(id, bobId, new Uint8Array([1])));
    await expect(failure).rejects.toMatchObject({ code: 'no-answer' });
    expect(services[0]!.counts.signals).toBe(1);
  });
});

describe('relays', () => {
  const relay = (id: string, load: number, healthy = true): Relay => ({
    id,
    urls: [`turn:${id}.example:3478`],
    region: 'eu',
    load,
    healthy,
  });

  test('report their load and health to any server; nodes everywhere get the list, best first (A10)', async () => {
    const reporter = generateNodeIdentity(new SeededRandom(77)).signing.publicKey;
    const init = { relays: [relay('fixed', 0.5)], relayReporters: [toBase64(reporter)], turnSecret: 's' };
    const { clock, services, node } = await cluster(2, init);
    const ann = await node(0);
    await clock.advance(100);
    expect(ann.relays().map(({ id }) => id)).toEqual(['fixed']);
    await services[1]!.reportRelay(relay('busy', 0.9), reporter);
    await services[1]!.reportRelay(relay('idle', 0.1), reporter);
    await services[1]!.reportRelay(relay('ill', 0, false), reporter);
    await clock.advance(100);
    expect(ann.relays().map(({ id }) => id)).toEqual(['idle', 'fixed', 'busy', 'ill']);
    await services[0]!.reportOwnRelay(relay('own', 0.2));
    await clock.advance(100);
    expect(ann.relays().map(({ id }) => id)).toEqual(['idle', 'own', 'fixed', 'busy', 'ill']);
    const stranger = generateNodeIdentity(new SeededRandom(78)).signing.publicKey;
    await expect(services[0]!.reportRelay(relay('evil', 0), stranger)).rejects.toMatchObject({ code: 'forbidden' });
    await clock.runUntil(ann.createParty({ name: 'camp', memberName: 'Ann' }));
    const { urls } = await clock.runUntil(ann.turnCredentials());
    expect(urls).toEqual([
      'turn:idle.example:3478',
      'turn:own.example:3478',
      'turn:fixed.example:3478',
      'turn:busy.example:3478',
    ]);
    // A relay that has not reported for half a minute is gone.
    await clock.advance(36_000);
    expect(ann.relays().map(({ id }) => id)).toEqual(['fixed']);
  });

  test('and parties are refused to those whom the server is not for', async () => {
    const { clock, node } = await cluster(1, { founding: 'setup-code' });
    const ann = await node(0);
    const creating = clock.runUntil(ann.createParty({ name: 'camp', memberName: 'Ann' }));
    await expect(creating).rejects.toMatchObject({
      code: 'setup-code-required',
      message: expect.stringContaining('its operator makes more'),
    });
    await expect(ann.turnCredentials()).rejects.toMatchObject({ code: 'not-a-member' });
  });
});
