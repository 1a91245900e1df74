import { describe, expect, test } from 'vitest';
import { usableRelays } from '../src/client/usable-relays.ts';

const relay = (...urls: string[]) => ({ id: 'r', urls, region: '', load: 0, healthy: true });
const urlsOf = (urls: string[], server?: string) => usableRelays([relay(...urls)], server).flatMap((each) => each.urls);

const ELSEWHERE = ['https://control.example:7447', 'http://192.0.2.1:7447', 'https://[2001:db8::1]'];
const HERE = ['http://127.0.0.1:7447', 'https://[::1]:7447', 'http://localhost:7447', 'https://dev.localhost'];

describe('relays on the list of a server (C1)', () => {
  test.each([
    'turn:127.0.0.1:22',
    'turn:127.8.9.10?transport=tcp',
    'turns:[::1]:443',
    'turn:[::ffff:127.0.0.1]:22',
    'turn:localhost:22',
    'turn:LOCALHOST.:22',
    'turn:x.localhost',
  ])('%s is this machine: only a server on it may name it', (url) => {
    for (const server of ELSEWHERE) expect(urlsOf([url], server)).toEqual([]);
    for (const server of HERE) expect(urlsOf([url], server)).toEqual([url]);
  });

  test.each([
    'turn:0.0.0.0:1',
    'turn:[::]:1',
    'turn:224.0.0.1',
    'turn:[ff02::1]:1',
    'turn:255.255.255.255',
    'turn:',
    '',
  ])('%s is no host, whoever names it', (url) => {
    for (const server of [...ELSEWHERE, ...HERE]) expect(urlsOf([url], server)).toEqual([]);
  });

  test.each(['turn:relay.example', 'turns:192.0.2.7:5349?transport=tcp', 'turn:10.0.0.7:3478', 'turn:[2001:db8::7]'])(
    '%s is kept, also beside one that is not',
    (url) => {
      for (const server of [...ELSEWHERE, ...HERE]) expect(urlsOf(['turn:0.0.0.0', url], server)).toEqual([url]);
    },
  );
});
