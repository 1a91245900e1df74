import { examineMachine, SystemCommands } from '@towpath/mesh';
import { ReportedError } from '../../cli/failure.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { stateFolderOf } from './mesh-node.ts';
import { printJson } from '../../cli/json-output.ts';
import { outputWidth, wrap } from '../../cli/table.ts';

/** Where what was found begins. */
const INDENT = 21;

/** Prints what peers need on this machine. @throws ReportedError when they cannot be connected. */
export async function doctor(runtime: Runtime, { json }: CommonOptions): Promise<void> {
  const { io, signal } = runtime;
  const components = { commands: new SystemCommands() };
  const findings = await examineMachine(components, { stateFolder: stateFolderOf(runtime), signal });
  const width = outputWidth(io) - INDENT;
  for (const finding of findings) {
    if (json) {
      printJson(io, 'finding', finding);
      continue;
    }
    const head = `${finding.state.padEnd(8)} ${finding.check.padEnd(11)} `;
    const next = finding.next === undefined ? [] : wrap(`Next: ${finding.next}`, width);
    for (const [at, part] of [...wrap(finding.found, width), ...next].entries()) {
      io.out(at === 0 ? head + part : ' '.repeat(INDENT) + part);
    }
  }
  if (findings.some(({ state }) => state === 'missing')) {
    throw new ReportedError('local-missing', 'Peers cannot be connected on this machine.', { kind: 'local' });
  }
}
