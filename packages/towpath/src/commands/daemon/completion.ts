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

/** Paths of the commands that take the name of a camera, which `camera list` prints below its heading. */
function withCamera(root: CommandInfo): string[] {
  return all(root)
    .filter((info) => info.arguments.some(({ name }) => name === 'camera'))
    .map(({ path }) => quote(path));
}

/** Words that an argument of a command takes. */
function valuesOf(info: CommandInfo): { name: string; description: string }[] {
  const takesShell = info.arguments.some(({ name }) => name === 'shell');
  return takesShell ? Object.keys(SHELLS).map((name) => ({ name, description: 'shell' })) : [];
}

const NAMES_OF_CAMERAS = "camera list 2>/dev/null | awk 'NR > 1 { print $1 }'";

function bash(root: CommandInfo): string[] {
  const cases = all(root).map((info) => {
    const { path, commands, options } = info;
    const words = new Set([
      ...[...commands, ...valuesOf(info)].map(({ name }) => name),
      ...options.map(({ long }) => long),
    ]);
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
    '  if [[ "$current" != -* ]]; then',
    `    case "$path" in ${withCamera(root).join('|')}) words+=" $("\${COMP_WORDS[0]}" ${NAMES_OF_CAMERAS})" ;; esac`,
    '  fi',
    '  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")',
    '}',
    'complete -o default -F _towpath towpath',
  ];
}

function zsh(root: CommandInfo): string[] {
  const cases = all(root).flatMap((info) => [
    `    (${quote(info.path)})`,
    '      items=(',
    ...[...info.commands, ...valuesOf(info)].map(
      ({ name, description }) => `        ${quote(`${name}:${description.replaceAll(':', '\\:')}`)}`,
    ),
    ...info.options.map(({ long, description }) => `        ${quote(`${long}:${description.replaceAll(':', '\\:')}`)}`),
    '      ) ;;',
  ]);
  const groups = all(root)
    .filter(({ path }) => path !== '')
    .map(({ path }) => quote(path));
  return [
    '#compdef towpath',
    '_towpath() {',
    '  local commandpath="" word next',
    '  local -a items cameras',
    '  local -i none=1',
    `  for word in "\${(@)words[2,CURRENT-1]}"; do`,
    `    next="\${commandpath:+$commandpath }$word"`,
    `    case "$next" in (${groups.join('|')}) commandpath="$next" ;; esac`,
    '  done',
    '  case "$commandpath" in',
    ...cases,
    '  esac',
    '  if [[ "$PREFIX" != -* ]]; then',
    '    case "$commandpath" in',
    `    (${withCamera(root).join('|')}) cameras=(\${(f)"$("$words[1]" ${NAMES_OF_CAMERAS})"}) ;;`,
    '    esac',
    '  fi',
    "  (( $#cameras )) && _describe -t cameras 'camera' cameras && none=0",
    "  _describe -t commands 'towpath' items && none=0",
    '  (( none )) && _files',
    '}',
    '# In a folder of fpath this file is the function, and its first call has to complete; else it was sourced.',
    'if [[ "$funcstack[1]" = _towpath ]]; then _towpath "$@"; else compdef _towpath towpath; fi',
  ];
}

function fish(root: CommandInfo): string[] {
  const groups = all(root)
    .filter(({ path }) => path !== '')
    .map(({ path }) => quote(path));
  const lines = [
    '# fish completion of towpath',
    'function __towpath_path',
    '  set -l path',
    '  for word in (commandline -opc)[2..]',
    "    set -l next (string join -- ' ' $path $word)",
    `    contains -- $next ${groups.join(' ')}; and set path $next`,
    '  end',
    '  echo "$path"',
    'end',
    'function __towpath_cameras',
    `  eval (string escape (commandline -opc)[1]) ${NAMES_OF_CAMERAS}`,
    'end',
  ];
  const at = (paths: readonly string[]): string => ` -n ${quote(`contains -- (__towpath_path) ${paths.join(' ')}`)}`;
  for (const info of all(root)) {
    const { path, commands, options } = info;
    const when = at([quote(path)]);
    for (const { name, description } of [...commands, ...valuesOf(info)]) {
      lines.push(`complete -c towpath${when} -f -a ${name} -d ${quote(description)}`);
    }
    for (const { short, long, takesValue, description } of options) {
      const letter = short === undefined ? '' : ` -s ${short.slice(1)}`;
      lines.push(
        `complete -c towpath${when}${letter} -l ${long.slice(2)}${takesValue ? ' -r' : ''} -d ${quote(description)}`,
      );
    }
  }
  lines.push(`complete -c towpath${at(withCamera(root))} -a '(__towpath_cameras)' -d camera`);
  return lines;
}

/** A word in single quotes, as all three shells read it. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
