import { Command } from 'commander';
import { registerCamera } from '../commands/camera/register.ts';
import { registerDemo } from '../commands/demo/register.ts';
import { registerNetcheck } from '../commands/netcheck/register.ts';
import { registerParty } from '../commands/party/register.ts';
import { registerPppp } from '../commands/pppp/register.ts';
import { registerRelay } from '../commands/relay/register.ts';
import { registerServe } from '../commands/serve/register.ts';
import type { Runtime } from './runtime.ts';

const EXIT_CODES = `
Exit codes:
  0 done   1 failed   2 wrong command line   3 not reached or lost   4 refused by the other side
  5 this machine said no (port, file, permission)   6 a control server is not to be believed   130 interrupted
`;

/** The whole command line. Commands load their code when they run, so that --help is quick. */
export function createProgram(runtime: Runtime): Command {
  const program = new Command('towpath')
    .description('Reaches a trail camera or a peer over the fastest path that works, and keeps it reachable.')
    .version('0.1.0')
    .showHelpAfterError('Next: see --help.')
    .addHelpText(
      'after',
      `${EXIT_CODES}
Examples:
  towpath demo                              the whole thing with an emulated camera, nothing else needed
  towpath camera find                       cameras on this network
  towpath camera download 192.168.43.1      all pictures of a camera that are not here yet
  towpath netcheck --server HOST            what this network lets through
  towpath relay serve                       a STUN and TURN server of your own
  towpath serve                             a control plane of your own, with STUN and TURN
  towpath party create NAME --server HOST   a private network; towpath party invite lets others in
`,
    );
  configure(program, runtime);
  registerCamera(program, runtime);
  registerPppp(program, runtime);
  registerNetcheck(program, runtime);
  registerRelay(program, runtime);
  registerServe(program, runtime);
  registerParty(program, runtime);
  registerDemo(program, runtime);
  for (const command of descendants(program)) configure(command, runtime);
  return program;
}

function configure(command: Command, { io }: Runtime): void {
  command.exitOverride().configureOutput({
    writeOut: (text) => io.out(text.trimEnd()),
    writeErr: (text) => io.err(text.trimEnd()),
    outputError: (text, write) => write(text.replace(/^error: /, `${io.style('red', 'towpath:')} `)),
  });
}

function descendants(command: Command): Command[] {
  return command.commands.flatMap((child) => [child, ...descendants(child)]);
}
