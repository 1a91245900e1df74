import { readFileSync } from 'node:fs';
import type { Command, Option } from 'commander';
import { describe, expect, test } from 'vitest';
import { DEFAULT_BUFFERS, DEFAULT_CONNECTIONS, DEFAULT_LIMITS } from '../../control/src/http/default-limits.ts';
import { MAX_NONCE_AGE_MS } from '../../control/src/store/store.ts';
import { DEFAULT_PARTY_LIMITS } from '../../control/src/server/party-limits.ts';
import {
  DEFAULT_MESSAGE_LIMIT,
  DEFAULT_MESSAGE_LIMIT_PER_ADDRESS,
  DEFAULT_TURN_CREDENTIALS_MS,
} from '../../control/src/server/service.ts';
import { DEFAULT_LIMITS as TURN_LIMITS } from '../../stun/src/turn/server/options.ts';
import { createProgram } from '../src/cli/program.ts';
import { idleRuntime } from './test-io.ts';

const doc = readFileSync(new URL('../../../docs/operations.md', import.meta.url), 'utf8');

const program = await createProgram(idleRuntime());

function command(...names: string[]): Command {
  return names.reduce((at, name) => at.commands.find((one) => one.name() === name)!, program);
}

/** The default that the help names, in the words of the description or by the definition. */
function presetOf({ defaultValue, description, negate }: Option): string {
  const said = /\s*\(default: ([^)]*)\)$/.exec(description)?.[1];
  if (said !== undefined) return said;
  if (negate || defaultValue === undefined || typeof defaultValue === 'boolean') return '–';
  return Array.isArray(defaultValue) ? defaultValue.join(' ') : String(defaultValue);
}

function rowsOf(server: Command): string[] {
  return server.options.map((option) => {
    const what = option.description.replace(/\s*\(default[^)]*\)$/, '');
    return `| \`${option.flags}\` | ${what} | ${presetOf(option)} |`;
  });
}

describe('docs/operations.md', () => {
  test.each([[['serve']], [['relay', 'serve']]])('lists every option of towpath %s with its default', (names) => {
    const heading = `### Options of \`towpath ${names.join(' ')}\``;
    const section = doc.split(heading)[1]?.split('\n#')[0] ?? '';
    const rows = section.split('\n').filter((line) => line.startsWith('| `'));
    expect(rows).toEqual(rowsOf(command(...names)));
  });

  test('names defaults as the servers have them (A3)', () => {
    const serve = command('serve');
    const relay = command('relay', 'serve');
    const preset = (server: Command, long: string) =>
      Number(presetOf(server.options.find((option) => option.long === long)!));
    const parties = ['members', 'bytes', 'codes'].flatMap((what) => [`--party-${what}`, `--founder-${what}`]);
    expect(Object.fromEntries([...parties, '--founder-parties'].map((long) => [long, preset(serve, long)]))).toEqual({
      '--party-members': DEFAULT_PARTY_LIMITS.membersPerParty,
      '--party-bytes': DEFAULT_PARTY_LIMITS.bytesPerParty,
      '--party-codes': DEFAULT_PARTY_LIMITS.codesPerParty,
      '--founder-members': DEFAULT_PARTY_LIMITS.membersPerFounder,
      '--founder-bytes': DEFAULT_PARTY_LIMITS.bytesPerFounder,
      '--founder-codes': DEFAULT_PARTY_LIMITS.codesPerFounder,
      '--founder-parties': DEFAULT_PARTY_LIMITS.partiesPerFounder,
    });
    expect(preset(serve, '--turn-credentials')).toBe(DEFAULT_TURN_CREDENTIALS_MS / 60_000);
    for (const each of [serve, relay]) {
      expect(preset(each, '--max-allocations')).toBe(TURN_LIMITS.allocations);
      expect(preset(each, '--user-allocations')).toBe(TURN_LIMITS.allocationsPerUser);
    }
    expect(preset(relay, '--user-requests')).toBe(TURN_LIMITS.requestsPerSecondPerUser);
    expect(preset(relay, '--max-connections')).toBe(TURN_LIMITS.connections);
    expect(preset(relay, '--address-connections')).toBe(TURN_LIMITS.connectionsPerAddress);
    expect(preset(relay, '--source-requests')).toBe(TURN_LIMITS.unauthenticatedPerSecond);
    expect(preset(relay, '--source-bindings')).toBe(TURN_LIMITS.bindingsPerSecond);
  });

  test('names the limits that have no option', () => {
    const section = doc.split('### Limits without an option')[1]?.split('\n#')[0] ?? '';
    const rows = section.split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| what'));
    const rate = ({ perSecond, burst }: { perSecond: number; burst?: number }) =>
      `${perSecond} per second, ${burst} at once`;
    const mib = (bytes: number) => `${bytes / 1_048_576} MiB`;
    const { perAddress, perNode, creations } = DEFAULT_LIMITS;
    expect(rows).toEqual([
      `| requests of one address (IPv6: one /64) | ${rate(perAddress)} |`,
      `| requests of one node | ${rate(perNode)} |`,
      `| parties created from one address | ${rate(creations)} |`,
      `| messages of one node over its WebSocket | ${rate(DEFAULT_MESSAGE_LIMIT)} |`,
      `| messages of all nodes at one address | ${rate(DEFAULT_MESSAGE_LIMIT_PER_ADDRESS)} |`,
      `| open connections, in all and of one address | ${DEFAULT_CONNECTIONS.total}, ${DEFAULT_CONNECTIONS.perAddress} |`,
      `| of these, without an accepted request yet | ${DEFAULT_CONNECTIONS.unprovenTotal}, ${DEFAULT_CONNECTIONS.unprovenPerAddress} |`,
      `| bytes left unread by one connection, one address, in all | ${mib(DEFAULT_BUFFERS.perConnectionBytes)}, ${mib(DEFAULT_BUFFERS.perAddressBytes)}, ${mib(DEFAULT_BUFFERS.totalBytes)} |`,
      `| how long a request's nonce is remembered | ${MAX_NONCE_AGE_MS / 60_000} min at most |`,
    ]);
  });
});
