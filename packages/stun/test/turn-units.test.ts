import { VirtualClock } from '@towpath/core/testing';
import { type InterfaceAddress, parseSubnet } from '@towpath/net';
import { describe, expect, test } from 'vitest';
import { AnswerLimit } from '../src/server/answer-limit.ts';
import { PermissionTable } from '../src/turn/client/permission-table.ts';
import { lookUpUser, timeLimitedCredentials } from '../src/turn/server/credentials.ts';
import { Nonces } from '../src/turn/server/nonce.ts';
import { PeerPolicy, type PeerPolicyOptions } from '../src/turn/server/peer-policy.ts';

const ETH0: InterfaceAddress = {
  name: 'eth0',
  address: '8.8.4.1',
  family: 4,
  prefixLength: 24,
  broadcast: '8.8.4.255',
  internal: false,
};

const interfaces = [ETH0];
const policy = (options: PeerPolicyOptions = {}, relayed = ['8.8.4.1', '9.9.9.1'], clock = new VirtualClock()) =>
  new PeerPolicy({ network: { interfaces: () => [...interfaces] }, clock }, { ...options, relayed });

describe('the peer policy', () => {
  test.each(['8.8.8.8', '1.1.1.1', '2606:4700::1111', '2002:808:808::1', '64:ff9b::808:808', '::ffff:8.8.8.8'])(
    'allows the public address %s',
    (address) => {
      expect(policy().allows(address)).toBe(true);
    },
  );

  test.each([
    ['0.0.0.0', 'unspecified'],
    ['127.0.0.1', 'loopback'],
    ['10.0.0.1', 'private'],
    ['172.16.5.5', 'private'],
    ['192.168.0.1', 'private'],
    ['100.64.0.1', 'channel-shared'],
    ['169.254.169.254', 'link-local, where clouds keep their secrets'],
    ['224.0.0.251', 'multicast'],
    ['255.255.255.255', 'broadcast'],
    ['8.8.4.255', 'broadcast of an own network'],
    ['192.0.2.1', 'documentation'],
    ['240.0.0.1', 'reserved'],
    ['::', 'unspecified'],
    ['::1', 'loopback'],
    ['fe80::1', 'link-local'],
    ['fc00::1', 'private'],
    ['ff02::1', 'multicast'],
    ['::ffff:127.0.0.1', 'loopback inside IPv4-mapped'],
    ['::ffff:10.0.0.1', 'private inside IPv4-mapped'],
    ['::7f00:1', 'loopback inside IPv4-compatible'],
    ['64:ff9b::7f00:1', 'loopback inside NAT64'],
    ['64:ff9b::a00:1', 'private inside NAT64'],
    ['64:ff9b:1::1', 'local NAT64'],
    ['2002:7f00:1::1', 'loopback inside 6to4'],
    ['2002:c0a8:101::1', 'private inside 6to4'],
    ['2001:0:4136:e378:8000:63bf:f5ff:fffe', 'private inside Teredo'],
    ['2001:0:7f00:1:8000:63bf:3fff:fdd2', 'a loopback Teredo server'],
    ['2600::5efe:10.0.0.1', 'private inside ISATAP'],
    ['2600::200:5efe:10.0.0.1', 'private inside ISATAP'],
    ['nonsense', 'no address'],
  ])('refuses %s (%s)', (address) => {
    expect(policy().allows(address)).toBe(false);
  });

  test('opens scopes and networks that it is told to, and closes those that it is told to', () => {
    expect(policy({ allowScopes: ['private'] }).allows('10.0.0.1')).toBe(true);
    expect(policy({ allowScopes: ['private'] }).allows('127.0.0.1')).toBe(false);
    expect(policy({ allow: [parseSubnet('192.168.7.0/24')!] }).allows('192.168.7.9')).toBe(true);
    expect(policy({ allow: [parseSubnet('192.168.7.0/24')!] }).allows('192.168.8.9')).toBe(false);
    expect(policy({ deny: [parseSubnet('8.8.8.0/24')!] }).allows('8.8.8.8')).toBe(false);
    expect(policy({ deny: [parseSubnet('8.8.8.0/24')!] }).allows('::ffff:8.8.8.8')).toBe(false);
    expect(policy({ allowScopes: ['private'], deny: [parseSubnet('10.1.0.0/16')!] }).allows('10.1.2.3')).toBe(false);
  });

  test('never opens what cannot be a peer', () => {
    const open = policy({ allowScopes: ['loopback', 'link-local', 'private', 'shared', 'documentation', 'reserved'] });
    for (const address of ['0.0.0.0', '224.0.0.1', '255.255.255.255', '8.8.4.255', '::', 'ff02::1']) {
      expect(open.allows(address), address).toBe(false);
    }
  });

  test('knows the server’s own addresses', () => {
    expect(['8.8.4.1', '9.9.9.1', '8.8.4.2'].map((address) => policy().isOwn(address))).toEqual([true, true, false]);
    expect(policy({ allowOwn: true }).isOwn('8.8.4.1')).toBe(false);
  });

  test('does not let an own address be reached inside another', () => {
    for (const address of ['::ffff:8.8.4.1', '64:ff9b::808:401', '2002:808:401::1']) {
      expect(policy().allows(address), address).toBe(false);
      expect(policy({ allowOwn: true }).allows(address), address).toBe(true);
    }
  });

  test('counts addresses that the host gets later as its own', async () => {
    const clock = new VirtualClock();
    const later = policy({}, [], clock);
    expect(later.isOwn('8.8.4.77')).toBe(false);
    interfaces.push({ ...ETH0, address: '8.8.4.77' });
    await clock.advance(2_000);
    expect(later.isOwn('8.8.4.77')).toBe(true);
    interfaces.pop();
  });

  test('lets clients reach relayed ports on a relay address of any scope, and nothing else there', () => {
    const lan = policy({}, ['10.0.0.5']);
    expect([lan.allows('10.0.0.5'), lan.isOwn('10.0.0.5'), lan.allows('10.0.0.6')]).toEqual([true, true, false]);
    expect(policy({ deny: [parseSubnet('10.0.0.0/8')!] }, ['10.0.0.5']).allows('10.0.0.5')).toBe(false);
  });
});

describe('nonces', () => {
  const client = { address: '192.0.2.1', port: 5 };
  const nonces = new Nonces(new Uint8Array(32).fill(7), 60_000);

  test('are good for their time, for the address they were given to, whatever its port', () => {
    const nonce = nonces.issue(client, 1_000_000);
    // RFC 8489 §18.1 with erratum 6290: bit 0, password algorithms, is the lowest of the 24.
    expect(nonce.startsWith('obMatJos2AAAB')).toBe(true);
    expect(nonces.valid(nonce, client, 1_000_000)).toBe(true);
    expect(nonces.valid(nonce, { ...client, port: 6 }, 1_059_000)).toBe(true);
    expect(nonces.valid(nonce, { ...client, address: '192.0.2.2' }, 1_000_000)).toBe(false);
    expect(nonces.valid(nonce, client, 1_061_001)).toBe(false);
  });

  test('cannot be made up or prolonged', () => {
    const nonce = nonces.issue(client, 1_000_000);
    for (let at = 0; at < nonce.length; at++) {
      const changed = nonce.slice(0, at) + (nonce[at] === 'f' ? 'e' : 'f') + nonce.slice(at + 1);
      expect(nonces.valid(changed, client, 1_000_000), `character ${at}`).toBe(false);
    }
    for (const other of ['', nonce.slice(1), `${nonce}0`, 'ä'.repeat(nonce.length)]) {
      expect(nonces.valid(other, client, 1_000_000)).toBe(false);
    }
    expect(new Nonces(new Uint8Array(32).fill(8), 60_000).valid(nonce, client, 1_000_000)).toBe(false);
  });
});

describe('credentials', () => {
  test('of the shared-secret scheme are those that coturn makes', () => {
    // printf '1767229200:alice' | openssl dgst -sha1 -hmac north -binary | base64
    const made = timeLimitedCredentials('north', 'alice', 3_600_000, Date.UTC(2026, 0, 1));
    expect(made).toEqual({
      username: '1767229200:alice',
      password: 'NtnEvQtTWyjHZIle0+Ms+zW2Ryc=',
      expiresAtMs: 1_767_229_200_000,
    });
  });

  test('are found for fixed users, for every secret, and for nobody else', () => {
    const options = { users: { alice: 'pw' }, secrets: ['a', 'b'] };
    const [alice, bob] = [lookUpUser(options, 'alice', 0), lookUpUser(options, '100:bob', 99_000)];
    expect([alice?.user, alice?.passwords()]).toEqual(['alice', ['pw']]);
    expect([bob?.user, bob?.passwords().length]).toEqual(['bob', 2]);
    for (const name of ['100:bob', 'bob', '', ':bob', '1e9:bob', '-5:bob', 'constructor', '9999999999999999:bob']) {
      expect(lookUpUser(options, name, 100_000), name).toBeUndefined();
    }
    expect(lookUpUser({}, '100:bob', 0)).toBeUndefined();
  });
});

describe('answers to unauthenticated requests', () => {
  test('are limited per network, which does not use up the rate of others, and in total', () => {
    const clock = new VirtualClock();
    const limit = new AnswerLimit({ clock }, { perNetworkPerSecond: 10, perSecond: 15 });
    const allowed = (address: string) => Array.from({ length: 100 }, () => limit.allow(address)).filter(Boolean).length;
    expect([allowed('192.0.2.1'), allowed('192.0.2.200'), allowed('192.0.3.1')]).toEqual([20, 0, 10]);
    expect(allowed('2001:db8::1')).toBe(0);
  });

  test('count an IPv6 /56 as one network', () => {
    const limit = new AnswerLimit({ clock: new VirtualClock() }, { perNetworkPerSecond: 1, perSecond: 100 });
    const answers = ['2001:db8:0:12::1', '2001:db8:0:34::1', '2001:db8:0:56::1', '2001:db8:0:100::1'];
    expect(answers.map((address) => limit.allow(address))).toEqual([true, true, false, true]);
  });
});

describe('the peers of a client', () => {
  const peer = { address: '192.0.2.1', port: 5 };

  test('come due once until they are renewed or late', () => {
    const book = new PermissionTable();
    book.granted(['192.0.2.9'], 0);
    const channel = book.openChannel(peer, 0)!;
    book.channelBound(channel, 0);
    expect([book.duePermissions(239_000), book.dueChannels(239_000)]).toEqual([[], []]);
    expect([book.duePermissions(240_000), book.dueChannels(240_000)]).toEqual([['192.0.2.9'], [channel]]);
    expect([book.duePermissions(241_000), book.dueChannels(241_000)]).toEqual([[], []]);
    expect(book.dueChannels(280_000)).toEqual([channel]);
  });

  test('a channel number rests before another peer gets it', () => {
    const book = new PermissionTable();
    const first = book.openChannel(peer, 0)!;
    book.dropChannel(first, 0);
    expect(book.peerOf(first.number)).toBeUndefined();
    const used = new Set<number>();
    for (let port = 1; port < 4_096; port++) used.add(book.openChannel({ address: '192.0.2.2', port }, 0)!.number);
    expect(used.has(first.number)).toBe(false);
    expect(book.openChannel({ address: '192.0.2.3', port: 1 }, 0)).toBeUndefined();
    expect(book.openChannel({ address: '192.0.2.3', port: 1 }, 900_001)?.number).toBe(first.number);
  });
});
