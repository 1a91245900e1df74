import { SystemClock, SystemRandom } from '@towpath/core';
import { ControlClient, generateNodeIdentity, HttpTransport } from '@towpath/control';
import { SqliteStore, startControlServer } from '@towpath/control/server';

const clock = new SystemClock();
const random = new SystemRandom();
await using store = new SqliteStore({ clock }, { path: ':memory:' });
await using server = await startControlServer({ store, clock, random }, { founding: 'open' });

const node = () =>
  ControlClient.open({
    transport: new HttpTransport({ clock, random }, { servers: [server.address] }),
    identity: generateNodeIdentity(random),
    clock,
    random,
  });
await using ann = await node();
await using ben = await node();

const { id } = await ann.createParty({ name: 'camp', memberName: 'Ann' });
const code = await ann.shareInvite(id, await ann.invite(id));
console.log(`invite code: ${code}`);

const arrived = ann.events.once('presence', { accept: ({ peer }) => peer.online });
await ben.join(await ben.openInvite(code), { memberName: 'Ben' });
const { peer } = await arrived;
console.log(`${peer.name} is here, at ${peer.virtualAddress}`);

ben.events.on('signal', ({ data }) => console.log(`Ben got: ${new TextDecoder().decode(data)}`));
await ann.signal(id, peer.id, new TextEncoder().encode('hello'));
