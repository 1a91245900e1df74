import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SeededRandom, silentLog } from '@towpath/core';
import { describe, expect, test } from 'vitest';
import type { Runtime } from '../src/cli/runtime.ts';
import { chooseParties } from '../src/commands/daemon/party-options.ts';
import { homeOf } from '../src/commands/party/party-node.ts';
import { withDefaults } from '../src/daemon/config/config.ts';
import { components, CommandLine } from './command-line.ts';
import { testIo } from './test-io.ts';

function inTwoParties(commandLine: CommandLine): Runtime {
  const signal = new AbortController().signal;
  const own = {
    io: testIo(),
    random: new SeededRandom(1),
    log: silentLog,
    signal,
    configFolder: commandLine.file('config'),
  };
  const runtime: Runtime = { ...components, ...own };
  for (const [at, name] of ['home', 'farm'].entries()) {
    const id = `${at}`.repeat(32);
    homeOf(runtime).rememberParty({ id, name, servers: { addresses: ['http://192.0.2.1:4100'] } });
    writeFileSync(join(commandLine.file('config'), 'parties', id, `${id}.party`), '');
  }
  return runtime;
}

describe('two parties on one machine (13.1)', () => {
  test('with the same addresses: one goes on, and the other says what to change', async () => {
    using commandLine = new CommandLine();
    const runtime = inTwoParties(commandLine);
    const [first, second] = chooseParties(runtime, withDefaults({}, '/state'), undefined, {});
    expect(first?.open).toBeUndefined();
    await expect(second?.open?.()).rejects.toMatchObject({
      code: 'address-conflict',
      message: expect.stringMatching(/both use the addresses 10\.66\.0\.0\/16.* network: 10\.77\.0\.0\/16/),
    });
  });

  test('with addresses of their own, both are held', () => {
    using commandLine = new CommandLine();
    const runtime = inTwoParties(commandLine);
    const parties = [{ party: 'home' }, { party: 'farm', network: '10.77.0.0/16' }];
    const chosen = chooseParties(runtime, withDefaults({ parties }, '/state'), undefined, {});
    expect(chosen.map(({ party, open }) => [party.name, open])).toEqual([
      ['home', undefined],
      ['farm', undefined],
    ]);
  });
});
