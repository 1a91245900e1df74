import { once } from 'node:events';
import { connect as connectTls } from 'node:tls';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SystemClock } from '@towpath/core';
import { describe, expect, test } from 'vitest';
import { FileStorage, MemoryStorage } from '../src/client/client-storage.ts';
import { ControlClient } from '../src/client/control-client.ts';
import { HttpTransport } from '../src/client/http-transport.ts';
import type { Suspicion } from '../src/control-plane.ts';
import { authorJoin, generateSigningKey, PartyState, replayLog, toBase64 } from '@towpath/membership';
import { generateNodeIdentity } from '../src/identity/node-identity.ts';
import { MemoryStore } from '../src/store/memory-store.ts';
import { SqliteStore } from '../src/store/sqlite-store.ts';
import { clock, Rig, random, signedHeaders, until } from './http-fixture.ts';
import { shiftedClock } from './malicious-plane.ts';

const bytes = (...values: number[]) => new Uint8Array(values);

async function inFolder(body: (folder: string) => Promise<void>) {
  const folder = await mkdtemp(join(tmpdir(), 'towpath-control-'));
  try {
    await body(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe('control plane over HTTP and WebSocket', () => {
  test('creates here, joins by code there, and each sees the others (C12)', async () => {
    await using rig = new Rig();
    const server = await rig.server({ turnSecret: 'sesame', relays: [relay('built-in')] });
    const [ann, bob, cleo] = await Promise.all([1, 2, 3].map(() => rig.client([server.address])));
    const { id } = await ann!.createParty({ name: 'camp', memberName: 'Ann' });
    const invite = await ann!.invite(id, { maxUses: 2 });
    expect(invite.servers).toEqual([server.address]);
    const code = await ann!.shareInvite(id, invite);
    await Promise.all(
      [bob!, cleo!].map(async (client, at) => client.join(await client.openInvite(code), { memberName: `n${at}` })),
    );
    const sees = (client: typeof ann) => client!.party(id)!.peers.filter((peer) => peer.online).length === 2;
    await until(() => [ann, bob, cleo].every(sees), 'everybody seeing everybody');
    const got: Uint8Array[] = [];
    cleo!.events.on('signal', ({ data }) => got.push(data));
    await bob!.signal(id, cleo!.party(id)!.self.id, bytes(1, 2));
    await until(() => got.length === 1, 'the signal');
    expect(got).toEqual([bytes(1, 2)]);
    expect(bob!.relays()).toEqual([relay('built-in')]);
    expect((await bob!.turnCredentials()).urls).toEqual(['turn:127.0.0.1:3478']);

    const bobId = bob!.party(id)!.self.id;
    await ann!.remove(id, bobId);
    await until(() => bob!.parties().length === 0 && cleo!.party(id)!.peers.length === 1, 'the removal');
  });

  test('restarts without losing anything; clients come back and resume where they were (C12)', () =>
    inFolder(async (folder) => {
      await using rig = new Rig();
      const path = join(folder, 'control.db');
      const store = new SqliteStore({ clock }, { path });
      const server = await rig.server({}, store);
      const port = Number(new URL(server.address).port);
      const [ann, bob] = await Promise.all([rig.client([server.address]), rig.client([server.address])]);
      const { id } = await ann.createParty({ name: 'camp', memberName: 'Ann' });
      await bob.join(await ann.invite(id), { memberName: 'Bob' });
      await until(() => ann.party(id)!.peers[0]?.online === true, 'Bob online');
      await server.close();
      await store.close();
      await until(() => !ann.connected && !bob.connected, 'the loss');
      // What is known goes on counting; what needs a server says so.
      expect(ann.party(id)!.peers).toHaveLength(1);
      await expect(ann.signal(id, bob.party(id)!.self.id, bytes(1))).rejects.toMatchObject({
        code: 'server-unavailable',
      });
      await expect(ann.invite(id)).rejects.toMatchObject({ code: 'server-unavailable' });

      await using reopened = new SqliteStore({ clock }, { path });
      await rig.server({ port }, reopened);
      await until(() => ann.party(id)!.peers[0]?.online === true, 'both back');
      await ann.invite(id);
      await until(() => bob.party(id)!.head.sequence === ann.party(id)!.head.sequence, 'the news at Bob');
    }));

  test('asks once without a connection, and leaves the place of the node to whoever is connected as it (C12)', async () => {
    await using rig = new Rig();
    const server = await rig.server();
    const [ann, bob] = await Promise.all([rig.client([server.address]), rig.client([server.address])]);
    const { id } = await ann.createParty({ name: 'camp', memberName: 'Ann' });
    const invite = await ann.invite(id, { maxUses: 3 });
    const identity = generateNodeIdentity(random);
    const init = { identity, storage: new MemoryStorage() };
    const cleo = await rig.client([server.address], init);
    await cleo.join(invite, { memberName: 'Cleo' });
    await until(() => cleo.party(id)!.peers[0]?.online === true, 'Ann online');
    let losses = 0;
    cleo.events.on('server', ({ connected }) => (losses += connected ? 0 : 1));

    await expect.poll(() => init.storage.loadAll()).toHaveLength(1);
    const asking = await rig.client([server.address], { ...init, live: false });
    await bob.join(invite, { memberName: 'Bob' });
    const online = async () => (await asking.refresh(id)).peers.map(({ name, online }) => [name, online]);
    expect(await online()).toEqual([
      ['Ann', true],
      ['Bob', true],
    ]);
    await bob.close();
    await expect.poll(online).toContainEqual(['Bob', false]);
    expect([asking.connected, losses, server.service.counts.sessions]).toEqual([false, 0, 2]);

    await ann.remove(id, cleo.party(id)!.self.id);
    const left: string[] = [];
    asking.events.on('left', ({ reason }) => left.push(reason));
    await expect(asking.refresh(id)).rejects.toMatchObject({ code: 'not-a-member' });
    expect([left, asking.parties()]).toEqual([['removed'], []]);
  });

  test('a server with an old copy of its data is told what it lost, by whoever it still knows (C12)', () =>
    inFolder(async (folder) => {
      await using rig = new Rig();
      const [path, copy] = [join(folder, 'control.db'), join(folder, 'copy.db')];
      await using store = new SqliteStore({ clock }, { path });
      const server = await rig.server({}, store);
      const port = Number(new URL(server.address).port);
      const [ann, bob] = await Promise.all([rig.client([server.address]), rig.client([server.address])]);
      const { id } = await ann.createParty({ name: 'camp', memberName: 'Ann' });
      const invite = await ann.invite(id);
      await store.backup(copy);
      await bob.join(invite, { memberName: 'Bob' });
      await until(() => ann.party(id)!.peers[0]?.online === true, 'Bob online');
      const kinds = { ann: new Set<string>(), bob: new Set<string>() };
      ann.events.on('suspicion', ({ kind }) => kinds.ann.add(kind));
      bob.events.on('suspicion', ({ kind }) => kinds.bob.add(kind));
      await server.close();

      await using old = new SqliteStore({ clock }, { path: copy });
      await rig.server({ port }, old);
      await expect.poll(() => old.readLog(id, 0, 10)).toHaveLength(3);
      await bob.refresh(id);
      expect(ann.party(id)!.peers.map(({ name }) => name)).toEqual(['Bob']);
      expect([...kinds.ann]).toEqual(['rollback']);
      expect([...kinds.bob].filter((kind) => kind !== 'withheld')).toEqual([]);
    }));

  test('goes to another server when one is gone, and two servers on a store act as one (C12)', async () => {
    await using rig = new Rig();
    const store = new MemoryStore({ clock });
    const [one, two] = [await rig.server({}, store), await rig.server({}, store)];
    const annIdentity = generateNodeIdentity(random);
    const ann = await rig.client([one.address, two.address], { identity: annIdentity });
    const bob = await rig.client([two.address, one.address]);
    await Promise.all([ann.ready(), bob.ready()]);
    expect([one.service.counts.sessions, two.service.counts.sessions]).toEqual([1, 1]);
    const { id } = await ann.createParty({ name: 'camp', memberName: 'Ann' });
    await bob.join(await ann.invite(id), { memberName: 'Bob' });
    await until(() => ann.party(id)!.peers[0]?.online === true, 'Bob online, at the other server');
    const got: Uint8Array[] = [];
    bob.events.on('signal', ({ data }) => got.push(data));
    await ann.signal(id, bob.party(id)!.self.id, bytes(7));
    await until(() => got.length === 1, 'the signal across servers');
    const path = `/v1/parties/${id}`;
    const described = await one.inject({ url: path, headers: signedHeaders(annIdentity, 'GET', path) });
    expect(described.json()).toMatchObject({
      name: 'camp',
      members: [
        { name: 'Ann', role: 'founder', online: true },
        { name: 'Bob', role: 'member', online: true },
      ],
    });
    const foreign = await one.inject({ url: path, headers: signedHeaders(generateNodeIdentity(random), 'GET', path) });
    expect(foreign.json().code).toBe('forbidden');
    await one.close();
    await until(() => ann.connected && two.service.counts.sessions === 2, 'Ann at the other server');
    await until(() => bob.party(id)!.peers[0]?.online === true, 'Ann seen again');
    await bob.signal(id, ann.party(id)!.self.id, bytes(8));
    await ann.invite(id);
  });

  test('keeps its parties in files for the owner only, and starts from them without a server (C12)', () =>
    inFolder(async (folder) => {
      await using rig = new Rig();
      const identity = generateNodeIdentity(random);
      const server = await rig.server();
      const ann = await rig.client([server.address], { identity, storage: new FileStorage(folder) });
      const { id } = await ann.createParty({ name: 'camp', memberName: 'Ann' });
      await (await rig.client([server.address])).join(await ann.invite(id), { memberName: 'Bob' });
      await until(() => ann.party(id)!.peers[0]?.online === true, 'Bob online');
      await ann.close();
      await server.close();
      for (const name of await readdir(folder)) expect((await stat(join(folder, name))).mode & 0o077).toBe(0);
      const again = await rig.client([server.address], { identity, storage: new FileStorage(folder) });
      expect(again.connected).toBe(false);
      expect(again.party(id)).toMatchObject({ name: 'camp', peers: [{ name: 'Bob', online: false }] });
      const other = await rig.client([server.address], { storage: new FileStorage(folder) });
      expect(other.parties()).toEqual([]);
    }));

  test('refuses, on every client, a member that somebody wrote into the store by hand (C12)', () =>
    inFolder(async (folder) => {
      await using rig = new Rig();
      const path = join(folder, 'control.db');
      const store = new SqliteStore({ clock }, { path });
      const server = await rig.server({}, store);
      const ann = await rig.client([server.address]);
      const { id } = await ann.createParty({ name: 'camp', memberName: 'Ann' });
      const invite = await ann.invite(id, { maxUses: 5 });
      const bob = await rig.client([server.address]);
      await bob.join(invite, { memberName: 'Bob' });
      const length = bob.party(id)!.head.sequence + 1;
      await until(() => ann.party(id)!.head.sequence === length - 1, 'Bob at Ann');
      // Whoever holds the database knows the public invite and the chain, but not the invite's secret.
      await store.append(id, length, forgedJoin(await store.readLog(id, 0, 100), invite.partyKey));
      const suspicions: Suspicion[] = [];
      ann.events.on('suspicion', (suspicion) => suspicions.push(suspicion));
      const carl = await rig.client([server.address]);
      await expect(carl.join(invite, { memberName: 'Carl' })).rejects.toMatchObject({
        code: 'untrusted-log',
        message: expect.stringMatching(/forged.*Verification of the control server's data failed/),
      });
      await expect(bob.leave(id)).rejects.toMatchObject({ code: 'untrusted-log' });
      await expect(ann.invite(id)).rejects.toMatchObject({ code: 'untrusted-log' });
      expect(suspicions).toMatchObject([{ party: id, kind: 'forged', sequence: length }]);
      expect(ann.party(id)!.peers.map((peer) => peer.name)).toEqual(['Bob']);
    }));

  test('takes reports of relays from those who may report, and pushes the list to nodes (A10)', async () => {
    await using rig = new Rig();
    const reporter = generateNodeIdentity(random).signing;
    const server = await rig.server({ relayReporters: [toBase64(reporter.publicKey)] });
    const ann = await rig.client([server.address]);
    await ann.ready();
    const transport = new HttpTransport({ clock, random }, { servers: [server.address] });
    await transport.reportRelay(relay('fleet-1'), { key: reporter });
    await until(() => ann.relays().length === 1, 'the list at Ann');
    expect(ann.relays()).toEqual([relay('fleet-1')]);
    const stranger = generateNodeIdentity(random).signing;
    await expect(transport.reportRelay(relay('evil'), { key: stranger })).rejects.toMatchObject({ code: 'forbidden' });
    await transport.close();
  });

  test('waits when the server says that there were too many requests, and gets through', async () => {
    await using rig = new Rig();
    const server = await rig.server({ limits: { perNode: { perSecond: 20, burst: 2 } } });
    const ann = await rig.client([server.address]);
    const { id } = await ann.createParty({ name: 'camp', memberName: 'Ann' });
    for (let at = 0; at < 5; at++) await ann.invite(id);
    expect(ann.party(id)!.invites).toHaveLength(5);
  });

  test('speaks TLS with a certificate that the client is told to trust, and with no other (C12)', async () => {
    await using rig = new Rig();
    const pem = (name: string) => readFile(new URL(`fixtures/loopback-${name}.pem`, import.meta.url), 'utf8');
    const [cert, key] = [await pem('cert'), await pem('key')];
    const server = await rig.server({ tls: { cert, key } });
    expect(server.address).toMatch(/^https:/);
    const client = await rig.client([server.address], { ca: cert });
    await client.createParty({ name: 'camp', memberName: 'Ann' });
    await client.ready();
    const suspicious = await rig.client([server.address]);
    await expect(suspicious.createParty({ name: 'camp', memberName: 'Ann' })).rejects.toMatchObject({
      code: 'server-unavailable',
      message: expect.stringContaining('--ca FILE'),
    });
  });

  test('refuses to renegotiate TLS (A2)', async () => {
    await using rig = new Rig();
    const pem = (name: string) => readFile(new URL(`fixtures/loopback-${name}.pem`, import.meta.url), 'utf8');
    const [cert, key] = [await pem('cert'), await pem('key')];
    const server = await rig.server({ tls: { cert, key } });
    const { hostname: host, port } = new URL(server.address);
    const client = connectTls({ host, port: Number(port), ca: cert, maxVersion: 'TLSv1.2' });
    await once(client, 'secureConnect');
    const failed = once(client, 'error');
    client.renegotiate({}, () => {});
    expect(await failed).toMatchObject([{ code: 'ERR_SSL_NO_RENEGOTIATION' }]);
    client.destroy();
  });

  test('leaves no timer behind when it is closed, which would keep the process running', async () => {
    await using rig = new Rig();
    const server = await rig.server();
    const timers = new Set<NodeJS.Timeout>();
    const counting = new SystemClock({
      now: () => performance.now(),
      set: (callback, delayMs) => {
        const timer = setTimeout(() => {
          timers.delete(timer);
          callback();
        }, delayMs);
        timers.add(timer);
        return timer;
      },
      clear: (handle) => {
        timers.delete(handle as NodeJS.Timeout);
        clearTimeout(handle as NodeJS.Timeout);
      },
    });
    const client = await ControlClient.open({
      transport: new HttpTransport({ clock: counting, random }, { servers: [server.address] }),
      identity: generateNodeIdentity(random),
      clock: counting,
      random,
    });
    await client.createParty({ name: 'camp', memberName: 'Ann' });
    await client.ready();
    expect(timers.size).toBeGreaterThan(0);
    await client.close();
    expect(timers.size).toBe(0);
  });

  test('takes requests of a machine whose clock is four minutes off, dated by the server, and no more than that (C12, B1)', async () => {
    await using rig = new Rig();
    const server = await rig.server();
    const openAt = (offsetMs: number) => {
      const wrong = shiftedClock(clock, offsetMs);
      return ControlClient.open({
        transport: new HttpTransport({ clock: wrong, random }, { servers: [server.address] }),
        identity: generateNodeIdentity(random),
        clock: wrong,
        random,
      });
    };
    await using client = await openAt(-240_000);
    await client.createParty({ name: 'camp', memberName: 'Late' });
    await client.ready();
    expect(client.connected).toBe(true);
    await using far = await openAt(-7_200_000);
    await expect(far.createParty({ name: 'camp', memberName: 'Later' })).rejects.toMatchObject({ code: 'clock-skew' });
  });
});

function relay(id: string) {
  return { id, urls: ['turn:127.0.0.1:3478'], region: 'here', load: 0, healthy: true };
}

function forgedJoin(log: Uint8Array[], partyKey: Uint8Array): Uint8Array {
  const { state } = replayLog(new PartyState(partyKey), log);
  const [known] = [...state.invites.values()];
  const intruder = generateNodeIdentity(random);
  const thief = { ...generateSigningKey(random), publicKey: known!.inviteKey };
  const node = { signing: intruder.signing, wireGuardPublicKey: intruder.wireGuard.publicKey };
  return authorJoin(state, { invite: thief, node, name: 'Mallory', timeMs: clock.wallTime() }).bytes;
}
