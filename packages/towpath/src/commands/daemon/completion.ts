import type { Command } from 'commander';
import { UsageError } from '../../cli/failure.ts';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { type CommandInfo, commandTree } from '../../cli/command-tree.ts';
import { printJson } from '../../cli/json-output.ts';

const SHELLS: Readonly<Record<string, (root: CommandInfo) => string[]>> = { bash, zsh, fish };

/** Prints a shell's completion script, made of the same definitions as the help. */
export async function completion(
  runtime: Runtime,
  program: Command,
  shell: string,
  { json }: CommonOptions,
): Promise<void> {
  const write = SHELLS[shell];
  if (write === undefined) throw new UsageError('The shell must be bash, zsh or fish.');
  const lines = write(commandTree(program));
  if (json) printJson(runtime.io, 'completion', { shell, script: `${lines.join('\n')}\n` });
  else for (const line of lines) runtime.io.out(line);
}

/** Every command that has commands or options, the program itself first. */
function all(info: CommandInfo): CommandInfo[] {
  return [info, ...info.commands.flatMap(all)];
}

function bash(root: CommandInfo): string[] {
  const cases = all(root).map(({ path, commands, options }) => {
    const words = new Set([...commands.map(({ name }) => name), ...options.map(({ long }) => long)]);
    return `    ${quote(path)}) words=${quote([...words].join(' '))} ;;`;
  });
  const groups = all(root)
    .filter(({ path }) => path !== '')
    .map(({ path }) => quote(path));
  return [
    '# bash completion of towpath',
    '_towpath() {',
    `  local current="\${COMP_WORDS[COMP_CWORD]}" path="" words="" word next`,
    '  COMPREPLY=()',
    `  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do`,
    `    next="\${path:+$path }$word"`,
    `    case "$next" in ${groups.join('|')}) path="$next" ;; esac`,
    '  done',
    '  case "$path" in',
    ...cases,
    '  esac',
    '  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")',
    '}',
    'complete -o default -F _towpath towpath',
  ];
}

function zsh(root: CommandInfo): string[] {
  const cases = all(root).flatMap(({ path, commands, options }) => [
    `    (${quote(path)})`,
    '      items=(',
    ...commands.map(({ name, description }) => `        ${quote(`${name}:${description.replaceAll(':', '\\:')}`)}`),
    ...options.map(({ long, description }) => `        ${quote(`${long}:${description.replaceAll(':', '\\:')}`)}`),
    '      ) ;;',
  ]);
  const groups = all(root)
    .filter(({ path }) => path !== '')
    .map(({ path }) => quote(path));
  return [
    '#compdef towpath',
    '_towpath() {',
    '  local commandpath="" word next',
    '  local -a items',
    `  for word in "\${(@)words[2,CURRENT-1]}"; do`,
    `    next="\${commandpath:+$commandpath }$word"`,
    `    case "$next" in (${groups.join('|')}) commandpath="$next" ;; esac`,
    '  done',
    '  case "$commandpath" in',
    ...cases,
    '  esac',
    "  _describe 'towpath' items || _files",
    '}',
    'compdef _towpath towpath',
  ];
}

function fish(root: CommandInfo): string[] {
  const lines = ['# fish completion of towpath'];
  for (const { path, commands, options } of all(root)) {
    const words = path === '' ? [] : path.split(' ');
    const seen = words.map((word) => `__fish_seen_subcommand_from ${word}`);
    const others = commands.map(({ name }) => name).join(' ');
    const noneYet = others === '' ? [] : [`not __fish_seen_subcommand_from ${others}`];
    const condition = [...seen, ...noneYet].join('; and ');
    const when = condition === '' ? '' : ` -n ${quote(condition)}`;
    for (const { name, description } of commands) {
      lines.push(`complete -c towpath${when} -f -a ${name} -d ${quote(description)}`);
    }
    for (const { short, long, takesValue, description } of options) {
      const letter = short === undefined ? '' : ` -s ${short.slice(1)}`;
      lines.push(
        `complete -c towpath${when}${letter} -l ${long.slice(2)}${takesValue ? ' -r' : ''} -d ${quote(description)}`,
      );
    }
  }
  return lines;
}

/** A word in single quotes, as bash and zsh read it; fish reads it the same way. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
