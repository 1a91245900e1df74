import { examineMachine, SystemCommands } from '@towpath/mesh';
import { ReportedError } from '../../cli/failure.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { stateFolderOf } from './mesh-node.ts';
import { printJson } from '../../cli/json-output.ts';

/** Prints what peers need on this machine. @throws ReportedError when they cannot be connected. */
export async function doctor(runtime: Runtime, { json }: CommonOptions): Promise<void> {
  const { io, signal } = runtime;
  const components = { commands: new SystemCommands() };
  const findings = await examineMachine(components, { stateFolder: stateFolderOf(runtime), signal });
  for (const finding of findings) {
    if (json) {
      printJson(io, 'finding', finding);
      continue;
    }
    io.out(`${finding.state.padEnd(8)} ${finding.check.padEnd(11)} ${finding.found}`);
    if (finding.next !== undefined) io.out(`${' '.repeat(21)}Next: ${finding.next}`);
  }
  if (findings.some(({ state }) => state === 'missing')) {
    throw new ReportedError('local-missing', 'Peers cannot be connected on this machine.', { kind: 'local' });
  }
}
