import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CommandLine } from './command-line.ts';

const PROGRAM = join(import.meta.dirname, '../bin/towpath.js');

/** What the words before the cursor are completed to, each on its own, by a shell that reads the script. */
type Complete = (line: string) => string[];

const SHELLS: Readonly<Record<string, (script: string, env: NodeJS.ProcessEnv) => Complete>> = {
  bash: (script, env) => (line) => {
    const words = line.split(' ').map((word) => `'${word}'`);
    const text = `. ${script}; COMP_WORDS=(${words.join(' ')}); COMP_CWORD=${words.length - 1}; _towpath; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return lines(execFileSync('bash', ['-euc', text], { encoding: 'utf8', env }));
  },
  fish: (script, env) => (line) => {
    const text = `source ${script}; complete -C '${line}'`;
    const { stdout, stderr } = spawnSync('fish', ['--no-config', '-c', text], { encoding: 'utf8', env });
    expect(stderr).toBe('');
    return lines(stdout).map((found) => found.split('\t')[0]!);
  },
  // The Tab key on a terminal, in a folder of fpath as the package installs it: what the line is afterwards.
  zsh: (script, env) => (line) => {
    const text = `
zmodload zsh/zpty
zpty z TERM=dumb zsh -f -i
zpty -w z "PS1= ; fpath=(${dirname(script)} \\$fpath); autoload -U compinit; compinit -u -D; show() { print -r -- \\"<\\$BUFFER>\\" }; zle -N show; bindkey '^X' show; print rea''dy"
zpty -r z out '*ready*'
zpty -w -n z ${`'${line}'`}$'\\t\\x18'
zpty -r z out '*<*>*'
print -r -- "\${\${out##*<}%%>*}"
zpty -d z`;
    const after = execFileSync('zsh', ['-fc', text], { encoding: 'utf8', env, timeout: 50_000 });
    return [after.trim().split(' ').at(-1)!];
  },
};

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}

describe.each(Object.keys(SHELLS))('completion by %s', (shell) => {
  const isMissing = spawnSync(shell, ['-c', 'true']).status !== 0;
  const commandLine = new CommandLine();
  let complete: Complete;

  beforeAll(async () => {
    const { out } = await commandLine.run(['completion', shell]);
    const script = commandLine.file('_towpath');
    writeFileSync(script, `${out.join('\n')}\n`);
    writeFileSync(commandLine.file('towpath'), `#!/bin/sh\nexec '${process.execPath}' '${PROGRAM}' "$@"\n`);
    chmodSync(commandLine.file('towpath'), 0o755);
    for (const name of ['feeder', 'barn']) await commandLine.run(['camera', 'add', name, '192.0.2.1']);
    const env = {
      PATH: `${commandLine.folder}:${process.env.PATH}`,
      HOME: commandLine.folder,
      TOWPATH_HOME: commandLine.file('config'),
      LC_ALL: 'C.UTF-8',
    };
    complete = SHELLS[shell]!(script, env);
  });
  afterAll(() => commandLine[Symbol.dispose]());

  test.skipIf(isMissing).each([
    ['a command', 'towpath sta', 'status'],
    ['a command of a group', 'towpath camera ad', 'add'],
    ['an option', 'towpath camera add --vi', '--via'],
    ['an option after a word that is also a command', 'towpath camera download status --tim', '--timeout'],
    ['a command after an option', 'towpath --version camera rem', 'remove'],
    ['the name of a shell', 'towpath completion fi', 'fish'],
    ['the name of a camera', 'towpath camera download fe', 'feeder'],
    ['the name of a camera to remove', 'towpath camera remove ba', 'barn'],
  ])('completes %s', (_what, line, word) => {
    expect(complete(line)).toEqual([word]);
  });
});
