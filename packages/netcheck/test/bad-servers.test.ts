import { SystemClock, SystemRandom } from '@towpath/core';
import { NodeNetwork } from '@towpath/net';
import { describe, expect, test } from 'vitest';
import { badServer, MISBEHAVIOUR } from '../../stun/test/support/bad-server.ts';
import { certificate } from '../../stun/test/support/certificate.ts';
import { checkTransport } from '../src/server-check.ts';

const identity = certificate('relay.test');
const components = { network: new NodeNetwork(), clock: new SystemClock(), random: new SystemRandom() };

describe.each(['tcp', 'tls'] as const)('a server over %s (A1)', (transport) => {
  // Side by side, because many of them take the whole limit.
  test.concurrent.each(MISBEHAVIOUR)('that %s is reported with an error, and the check ends', async (_what, behave) => {
    const { at, server } = await badServer(transport, identity, behave);
    const check = await checkTransport(
      components,
      { transport, family: 4, endpoint: at },
      {
        limitMs: 10_000,
        tls: { ca: identity.cert, serverName: 'relay.test' },
        signal: new AbortController().signal,
      },
    );
    expect(check.rttMs).toBeUndefined();
    expect(check.error?.message).toMatch(/./);
    server.close();
  });
});
