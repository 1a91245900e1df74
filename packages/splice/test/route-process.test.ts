import { VirtualClock } from '@towpath/core/testing';
import { expect, test } from 'vitest';
import { RouteProcess } from '../src/route-process.ts';
import { lookUpRoutes, routeKey } from '../src/routes.ts';
import { FakeKernel } from '../src/testing/fake-kernel.ts';

const RELAY = '203.0.113.10';
const QUERY = { to: '198.51.100.1', from: RELAY };

test('one process answers all questions; one that has ended is started again', async () => {
  const system = FakeKernel.host([RELAY], { unreachable: ['198.51.100.9'] });
  const start = system.startIp.bind(system);
  let started = 0;
  system.startIp = (handlers) => {
    started++;
    return start(handlers);
  };
  const clock = new VirtualClock();
  const ip = new RouteProcess({ system, clock });
  const unreachable = { to: '198.51.100.9', from: RELAY };
  const [first, second] = await Promise.all([lookUpRoutes(ip, [QUERY, unreachable]), lookUpRoutes(ip, [QUERY])]);
  expect([...first.keys(), ...second.keys()]).toEqual([routeKey(QUERY), routeKey(QUERY)]);
  expect(started).toBe(1);
  const { respond } = system;
  system.respond = () => ({ code: undefined, stdout: '', stderr: 'SIGKILL' });
  await expect(lookUpRoutes(ip, [QUERY])).rejects.toMatchObject({
    code: 'no-route',
    message: expect.stringContaining('SIGKILL'),
  });
  system.respond = respond;
  expect((await lookUpRoutes(ip, [QUERY])).get(routeKey(QUERY))).toMatchObject({ device: 'eth0' });
  expect(started).toBe(2);
  ip[Symbol.dispose]();
  await expect(lookUpRoutes(ip, [QUERY])).rejects.toMatchObject({ code: 'closed' });
  expect(clock.pendingTimers).toBe(0);
});

test.each([
  ['that is missing', { code: undefined, stdout: '', stderr: 'spawn ip ENOENT' }, /not installed/],
  ['that does not answer', undefined, /did not answer/],
])('of a program %s the reason is told', async (_what, answer, message) => {
  const system = FakeKernel.host([RELAY]);
  if (answer === undefined) system.startIp = () => ({ write: () => 0, kill: () => {} });
  else system.respond = () => answer;
  const clock = new VirtualClock();
  using ip = new RouteProcess({ system, clock });
  const looked = lookUpRoutes(ip, [QUERY]).catch((error: Error) => error.message);
  await clock.advance(20_000);
  expect(await looked).toMatch(message);
  expect(clock.pendingTimers).toBe(0);
});
