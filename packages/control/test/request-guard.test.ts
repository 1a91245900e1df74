import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { expect, test } from 'vitest';
import { RequestGuard } from '../src/http/request-guard.ts';
import { ServerNames } from '../src/http/server-names.ts';
import { generateNodeIdentity } from '../src/identity/node-identity.ts';
import { MemoryStore } from '../src/store/memory-store.ts';
import { NONCE_BYTES, signRequest } from '../src/wire/request-signing.ts';
import { shiftedClock } from './malicious-plane.ts';

const SERVER = '192.0.2.7:4100';
const HERE = { address: '192.0.2.7', port: 4_100 };
const RATE = { perSecond: 1_000, burst: 1_000 };

test('a server whose clock is set back accepts what is dated from then on, and repetitions no more than before (B1)', async () => {
  const trueClock = new VirtualClock(1_800_000_000_000);
  const random = new SeededRandom(1);
  let aheadMs = 3_600_000;
  const clock = { ...shiftedClock(trueClock, 0), wallTime: () => trueClock.wallTime() + aheadMs };
  const store = new MemoryStore({ clock });
  const names = new ServerNames([]);
  const guard = new RequestGuard({ clock, random, store, names }, { perAddress: RATE, perNode: RATE, creations: RATE });
  const { signing } = generateNodeIdentity(random);
  const parts = { method: 'POST', path: '/v1/parties', body: new Uint8Array(3) };
  const signed = () =>
    signRequest(signing, parts, { server: SERVER, timeMs: trueClock.wallTime(), nonce: random.bytes(NONCE_BYTES) });
  const accept = async (headers: Record<string, string>) => guard.authenticate(guard.claims(headers, HERE), parts);

  const early = signed();
  await expect(accept(early)).rejects.toMatchObject({ code: 'clock-skew', message: /3600 s behind the server's/ });
  await trueClock.advance(10_000);
  aheadMs = 0;
  await expect(accept(early)).rejects.toMatchObject({ code: 'clock-skew', message: /before its clock was set/ });
  await trueClock.advance(1);
  const later = signed();
  await accept(later);
  await expect(accept(later)).rejects.toMatchObject({ code: 'replayed' });
});
