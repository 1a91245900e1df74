import type { CommandInfo } from './command-tree.ts';

/** A manual page, section 1. */
export interface ManPage {
  /** `towpath-camera.1`. */
  readonly file: string;
  readonly text: string;
}

/** The manual: one page for the program and one for each of its groups, in roff with the man macros. */
export function manPages(root: CommandInfo, about: { version: string; date: string }): ManPage[] {
  const see = root.commands.map(({ name }) => `towpath-${name}`);
  const own = page('towpath', root, about, [
    '.SH COMMANDS',
    ...root.commands.flatMap(({ name, description }) => ['.TP', `.BR towpath\\-${name} (1)`, roff(description)]),
    ...files(),
    '.SH SEE ALSO',
    see.map((name) => `.BR ${roff(name)} (1)`).join(',\n'),
  ]);
  return [own, ...root.commands.map((group) => groupPage(group, about))];
}

function groupPage(group: CommandInfo, about: { version: string; date: string }): ManPage {
  const parts = group.commands.flatMap((command) => [
    `.SH ${roff(`towpath ${command.path}`.toUpperCase())}`,
    ...synopsis(command),
    '.PP',
    roff(`${sentence(command.description)}`),
    ...options(command),
    ...notes(command.notes),
  ]);
  return page(`towpath-${group.name}`, group, about, [...parts, '.SH SEE ALSO', '.BR towpath (1)']);
}

function page(
  name: string,
  info: CommandInfo,
  about: { version: string; date: string },
  rest: readonly string[],
): ManPage {
  const hasOwn = info.commands.length === 0 || info.path === '';
  return {
    file: `${name}.1`,
    text: `${[
      `.TH ${roff(name.toUpperCase())} 1 ${about.date} "Towpath ${about.version}" "Towpath"`,
      '.SH NAME',
      `${roff(name)} \\- ${roff(info.description.replace(/\.$/, ''))}`,
      '.SH SYNOPSIS',
      ...(hasOwn ? synopsis(info) : info.commands.flatMap((command) => [...synopsis(command), '.br'])),
      ...(hasOwn ? ['.SH OPTIONS', ...options(info), ...notes(info.notes)] : []),
      ...rest,
    ].join('\n')}\n`,
  };
}

function synopsis({ path, usage }: CommandInfo): string[] {
  return [`.B ${roff(path === '' ? 'towpath' : `towpath ${path}`)}`, roff(usage)];
}

function options({ options: all, arguments: words }: CommandInfo): string[] {
  return [
    ...words.flatMap(({ name, description }) => ['.TP', `.I ${roff(name)}`, roff(description)]),
    ...all.flatMap(({ flags, description }) => ['.TP', `.B ${roff(flags)}`, roff(description)]),
  ];
}

/** Examples and tables of the help stay as they are. */
function notes(text: string): string[] {
  return text === '' ? [] : ['.PP', '.nf', ...text.split('\n').map(roff), '.fi'];
}

function files(): string[] {
  return [
    '.SH ENVIRONMENT',
    '.TP',
    '.B TOWPATH_HOME',
    'Folder of keys, parties, state and configuration.',
    '.TP',
    '.B TOWPATH_CONFIG',
    'The configuration file, if it is not config.yaml in that folder.',
    '.TP',
    '.B NO_COLOR',
    'Set to anything: no colours.',
  ];
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** Text as roff reads it: ASCII, with marks for backslashes, hyphens, and lines that begin with a control character. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/, '\\&$1')
    .replaceAll(/[^\0-\x7f]/gu, (sign) => `\\[u${sign.codePointAt(0)?.toString(16).toUpperCase().padStart(4, '0')}]`);
}
