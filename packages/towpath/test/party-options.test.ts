import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SeededRandom, silentLog } from '@towpath/core';
import { describe, expect, test } from 'vitest';
import type { Runtime } from '../src/cli/runtime.ts';
import { type ChosenParty, chooseParties, rememberNetworks } from '../src/commands/daemon/party-options.ts';
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

const networks = (chosen: readonly ChosenParty[]) =>
  new Map(chosen.map(({ party, options }) => [party.name, [options.network, options.networkHere]]));
const DEFAULT = '10.66.0.0/16';

describe('two parties on one machine (13.1)', () => {
  test('with the same addresses: the first keeps them here, the other has a substitute that stays its own', () => {
    using commandLine = new CommandLine();
    const runtime = inTwoParties(commandLine);
    const chosen = chooseParties(runtime, withDefaults({}, '/state'), undefined, {});
    const given = networks(chosen);
    const substitute = given.get('home')![1]!;
    expect(substitute).not.toBe(DEFAULT);
    expect(given).toEqual(
      new Map([
        ['farm', [DEFAULT, DEFAULT]],
        ['home', [DEFAULT, substitute]],
      ]),
    );
    expect(chosen.map(({ options }) => options.otherNetworks)).toEqual([[substitute], [DEFAULT]]);
    rememberNetworks(runtime, chosen);
    // Neither the order of the configuration nor being alone changes the addresses of a party on this machine.
    for (const parties of [[{ party: 'home' }, { party: 'farm' }], [{ party: 'home' }]]) {
      const again = chooseParties(runtime, withDefaults({ parties }, '/state'), undefined, {});
      expect(networks(again).get('home')).toEqual([DEFAULT, substitute]);
    }
  });

  test('with addresses of their own, both are seen as they are', () => {
    using commandLine = new CommandLine();
    const runtime = inTwoParties(commandLine);
    rememberNetworks(runtime, chooseParties(runtime, withDefaults({}, '/state'), undefined, {}));
    const parties = [{ party: 'farm' }, { party: 'home', network: '10.77.0.0/16' }];
    const chosen = chooseParties(runtime, withDefaults({ parties }, '/state'), undefined, {});
    expect(networks(chosen)).toEqual(
      new Map([
        ['farm', [DEFAULT, DEFAULT]],
        ['home', ['10.77.0.0/16', '10.77.0.0/16']],
      ]),
    );
  });
});

describe('options that name networks and domains (C14)', () => {
  test.each([
    [{ accept: ['pi=0.0.0.0/0'] }, 'no network that can be offered or accepted'],
    [{ accept: ['pi=127.0.0.0/8'] }, 'no network that can be offered or accepted'],
    [{ accept: ['pi'] }, 'MEMBER=NETWORK'],
    [{ offer: ['127.0.0.0/8'] }, 'no network that can be offered or accepted'],
    [{ domain: 'a\n192.0.2.6 example.com #' }, '--domain must be a domain'],
    [{ domain: `${'a.'.repeat(150)}a` }, '--domain must be a domain'],
    [{ domain: '-a' }, '--domain must be a domain'],
  ])('%j is refused', (flags, text) => {
    using commandLine = new CommandLine();
    const runtime = inTwoParties(commandLine);
    expect(() => chooseParties(runtime, withDefaults({}, '/state'), 'home', flags)).toThrow(text);
  });

  test('and those that can be used are taken', () => {
    using commandLine = new CommandLine();
    const runtime = inTwoParties(commandLine);
    const flags = { accept: ['pi=192.168.43.0/24'], offer: ['192.168.44.0/24'], domain: 'lan.example' };
    const [chosen] = chooseParties(runtime, withDefaults({}, '/state'), 'home', flags);
    expect(chosen!.options).toMatchObject({
      accept: [{ peer: 'pi', network: '192.168.43.0/24' }],
      offers: ['192.168.44.0/24'],
      domain: 'lan.example',
    });
    expect(chooseParties(runtime, withDefaults({}, '/state'), 'home', { domain: '' })[0]!.options.domain).toBe('');
  });
});
