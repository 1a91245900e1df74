import type { Command, Help } from 'commander';
import type { Io } from './io.ts';
import { wrap } from './table.ts';

/** Width where there is no terminal. */
const DEFAULT_WIDTH = 80;
const MIN_WIDTH = 40;
/** Longer lines are hard to read. */
const MAX_WIDTH = 100;
/** Longest term that has its description beside it; a longer one has it below. */
const MAX_TERM = 28;
/** Below this width every description stands below its term. */
const SIDE_BY_SIDE_WIDTH = 70;
const GAP = 2;

/** The width of help on this terminal, in characters. */
export function helpWidth({ columns }: Pick<Io, 'columns'>): number {
  return columns > 10_000 ? DEFAULT_WIDTH : Math.max(MIN_WIDTH, Math.min(columns, MAX_WIDTH));
}

/** Fits the help of a command to a width: nothing but a command line to copy is wider. */
export function fitHelp(command: Command, width: number): void {
  const cap = width < SIDE_BY_SIDE_WIDTH ? 2 : MAX_TERM;
  command.configureHelp({
    helpWidth: width,
    padWidth: (shown: Command, helper: Help) => Math.min(cap, longestTerm(shown, helper)),
    formatItem: (term: string, termWidth: number, description: string) => {
      const at = GAP + termWidth + GAP;
      const lines = description === '' ? [] : wrap(description, width - at);
      const beside = term.length <= termWidth ? (lines.shift() ?? '') : '';
      const head = `${' '.repeat(GAP)}${term.padEnd(termWidth)}${' '.repeat(GAP)}${beside}`.trimEnd();
      return [head, ...lines.map((line) => ' '.repeat(at) + line)].join('\n');
    },
  });
}

function longestTerm(command: Command, helper: Help): number {
  return Math.max(
    helper.longestOptionTermLength(command, helper),
    helper.longestSubcommandTermLength(command, helper),
    helper.longestArgumentTermLength(command, helper),
  );
}

/** Breaks the lines of a help text that are too wide; paragraphs are filled again, and examples stay as they are. */
export function fitText(text: string, width: number): string {
  return paragraphs(text.split('\n'))
    .flatMap((line) => {
      if (line.length <= width || isCommandLine(line)) return [line];
      const hang = hangOf(line, width);
      const [first = '', ...rest] = wrap(line, width);
      return [first, ...wrap(rest.join(' '), width - hang).map((part) => ' '.repeat(hang) + part)];
    })
    .join('\n');
}

/** An example to copy, or the rest of one that is continued. */
function isCommandLine(line: string): boolean {
  return /^ {2}(?:\S+ )?towpath [a-z]/.test(line) || /^ {6}--/.test(line);
}

/** Joins lines of one paragraph: text that is not indented. */
function paragraphs(lines: readonly string[]): string[] {
  const filled: string[] = [];
  let open = false;
  for (const line of lines) {
    const isText = /^\S/.test(line);
    if (isText && open) filled.push(`${filled.pop()} ${line}`);
    else filled.push(line);
    open = isText && !line.endsWith(':');
  }
  return filled;
}

/** Where the lines after the first begin: below the second column, if there is one. */
function hangOf(line: string, width: number): number {
  const column = /^\s*\S+(?: \S+)*\s{2,}/.exec(line)?.[0].length;
  const indent = /^\s*/.exec(line)?.[0].length ?? 0;
  if (indent === 0) return 0;
  return column !== undefined && column < width / 2 ? column : indent + GAP;
}
