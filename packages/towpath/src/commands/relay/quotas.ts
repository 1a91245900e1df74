import { readTurnUser } from '@towpath/control/turn-user';
import type { TurnGroupLimits, TurnLimits } from '@towpath/stun/server';
import { type Command, Option } from 'commander';
import { integer, number } from '../../cli/values.ts';

/** Options that limit what users, parties and founders may relay. */
export interface QuotaOptions {
  maxAllocations?: number;
  userAllocations?: number;
  /** Kilobytes per second. */
  userBandwidth?: number;
  partyAllocations: number;
  /** Kilobytes per second. */
  partyBandwidth: number;
  founderAllocations: number;
  /** Kilobytes per second. */
  founderBandwidth: number;
}

/** Limits of all members of one party, and of all parties of one founder; plain data, for worker processes. */
export interface SharedQuotas {
  readonly party: SharedQuota;
  readonly founder: SharedQuota;
}

interface SharedQuota {
  readonly allocations: number;
  readonly bytesPerSecond: number;
}

/** Heading of the options that limit what strangers and members may use. */
export const LIMITS = 'Limits:';

const count = integer(1, 10_000_000);
const kilobytes = number(1, 10_000_000);

/** Adds the options of {@link QuotaOptions}. */
export function withQuotas(command: Command): Command {
  const limit = (flags: string, description: string, parse: (text: string) => number, preset?: number) => {
    const option = new Option(flags, description).helpGroup(LIMITS).argParser(parse);
    command.addOption(preset === undefined ? option : option.default(preset));
  };
  limit('--max-allocations <count>', 'allocations at the same time (default: 4096)', count);
  limit('--user-allocations <count>', 'allocations of one user (default: 32)', count);
  limit('--user-bandwidth <kilobytes>', 'relayed kilobytes of one user per second (default: no limit)', kilobytes);
  limit('--party-allocations <count>', 'allocations of all members of one party', count, 1_024);
  limit('--party-bandwidth <kilobytes>', 'relayed kilobytes of one party per second', kilobytes, 50_000);
  limit('--founder-allocations <count>', 'allocations in all parties of one founder', count, 2_048);
  limit(
    '--founder-bandwidth <kilobytes>',
    'relayed kilobytes of all parties of one founder per second',
    kilobytes,
    100_000,
  );
  return command;
}

/** The limits of users and in total. */
export function userLimits({ maxAllocations, userAllocations, userBandwidth }: QuotaOptions): Partial<TurnLimits> {
  return given({
    allocations: maxAllocations,
    // A session needs one of each.
    plainPorts: maxAllocations,
    allocationsPerUser: userAllocations,
    bytesPerSecondPerUser: userBandwidth === undefined ? undefined : userBandwidth * 1_000,
  });
}

/** Leaves out options that were not given, so that they do not replace a default. */
export function given<Limits extends object>(
  limits: {
    [Name in keyof Limits]: Limits[Name] | undefined;
  },
): Partial<Limits> {
  return Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined)) as Partial<Limits>;
}

export function sharedQuotas(options: QuotaOptions): SharedQuotas {
  return {
    party: { allocations: options.partyAllocations, bytesPerSecond: options.partyBandwidth * 1_000 },
    founder: { allocations: options.founderAllocations, bytesPerSecond: options.founderBandwidth * 1_000 },
  };
}

/** The limits of groups for a TURN server: the user names of a control server name party and founder. */
export function turnGroups({ party, founder }: SharedQuotas): TurnGroupLimits[] {
  return [
    { ...party, name: 'party', groupOf: (user) => readTurnUser(user)?.party },
    { ...founder, name: 'founder', groupOf: (user) => readTurnUser(user)?.founder },
  ];
}
