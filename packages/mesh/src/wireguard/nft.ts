import { type Commands, commandFailure } from './command.ts';

/**
 * Loads rules, all or none.
 * @throws MeshError `program-missing`, `permission-denied`, `command-failed`.
 */
export async function loadRules(commands: Commands, rules: string): Promise<void> {
  const args = ['-f', '-'];
  const { code, stderr } = await commands.run('nft', args, { input: rules });
  if (code !== 0) throw commandFailure('nft', args, stderr);
}
