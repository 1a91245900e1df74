import type { Command } from 'commander';
import type { Runtime } from './runtime.ts';

/**
 * Adds one group of commands to the program.
 * @param whole makes a program with every group, for what describes all of them
 */
export type RegisterCommands = (program: Command, runtime: Runtime, whole: () => Promise<Command>) => void;

/** A word after `towpath`, and where its commands are. */
export interface CommandGroup {
  readonly name: string;
  /** In `towpath --help` and at the head of the group's own help. */
  readonly description: string;
  /** Loads the group's options and help; what a command runs is loaded when it runs. */
  load(): Promise<RegisterCommands>;
}

/** In the order of `towpath --help`. */
export const COMMAND_GROUPS: readonly CommandGroup[] = [
  {
    name: 'camera',
    description: 'trail cameras that speak PPPP (KJK230 and its family)',
    load: async () => (await import('../commands/camera/register.ts')).registerCamera,
  },
  {
    name: 'pppp',
    description: 'rendezvous and relay servers for cameras',
    load: async () => (await import('../commands/pppp/register.ts')).registerPppp,
  },
  {
    name: 'netcheck',
    description: 'report what this network lets through: addresses, NAT, IPv6, port mapping, round trips to relays',
    load: async () => (await import('../commands/netcheck/register.ts')).registerNetcheck,
  },
  {
    name: 'relay',
    description: 'STUN and TURN server for peers',
    load: async () => (await import('../commands/relay/register.ts')).registerRelay,
  },
  {
    name: 'serve',
    description: 'run a control plane for parties, with a STUN and TURN server',
    load: async () => (await import('../commands/serve/register.ts')).registerServe,
  },
  {
    name: 'party',
    description: 'private networks: create, invite, join, list and remove members',
    load: async () => (await import('../commands/party/register.ts')).registerParty,
  },
  {
    name: 'up',
    description: 'hold parties and cameras, and serve the page, until ended',
    load: async () => (await import('../commands/daemon/register.ts')).registerUp,
  },
  {
    name: 'down',
    description: 'end towpath up, and remove what a killed one left behind',
    load: async () => (await import('../commands/daemon/register.ts')).registerDown,
  },
  {
    name: 'status',
    description: 'show how each member and camera is reached',
    load: async () => (await import('../commands/daemon/register.ts')).registerStatus,
  },
  {
    name: 'ping',
    description: 'measure round trips to a member through the tunnel',
    load: async () => (await import('../commands/mesh/register.ts')).registerPing,
  },
  {
    name: 'why',
    description: 'explain how a member or camera is reached, and why not better',
    load: async () => (await import('../commands/daemon/register.ts')).registerWhy,
  },
  {
    name: 'paths',
    description: 'list the paths to a member, or follow what happens to them',
    load: async () => (await import('../commands/mesh/register.ts')).registerPaths,
  },
  {
    name: 'doctor',
    description: 'check what peers need on this machine',
    load: async () => (await import('../commands/mesh/register.ts')).registerDoctor,
  },
  {
    name: 'dashboard',
    description: 'print the link of the page',
    load: async () => (await import('../commands/daemon/register.ts')).registerDashboard,
  },
  {
    name: 'logs',
    description: 'print the log of towpath up',
    load: async () => (await import('../commands/daemon/register.ts')).registerLogs,
  },
  {
    name: 'config',
    description: 'show and check the configuration',
    load: async () => (await import('../commands/daemon/register.ts')).registerConfig,
  },
  {
    name: 'service',
    description: 'run towpath up at every start of the machine (systemd)',
    load: async () => (await import('../commands/daemon/register.ts')).registerService,
  },
  {
    name: 'bugreport',
    description: 'write an archive for a bug report, without secrets',
    load: async () => (await import('../commands/daemon/register.ts')).registerBugreport,
  },
  {
    name: 'completion',
    description: 'print the completion script of a shell',
    load: async () => (await import('../commands/daemon/register.ts')).registerCompletion,
  },
  {
    name: 'demo',
    description: 'show everything with an emulated camera; needs nothing else',
    load: async () => (await import('../commands/demo/register.ts')).registerDemo,
  },
];
