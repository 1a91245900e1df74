import type { Command } from 'commander';

/** One command as help, completion and manual pages describe it: all of them are made of this. */
export interface CommandInfo {
  /** `camera add`; empty for the program itself. */
  readonly path: string;
  readonly name: string;
  readonly description: string;
  /** `<name> [options]`. */
  readonly usage: string;
  readonly arguments: readonly { name: string; required: boolean; description: string }[];
  readonly options: readonly OptionInfo[];
  /** What `--help` says after the options: notes, exit codes, examples. */
  readonly notes: string;
  readonly commands: readonly CommandInfo[];
}

export interface OptionInfo {
  readonly short: string | undefined;
  readonly long: string;
  /** `-o, --output <folder>`. */
  readonly flags: string;
  readonly takesValue: boolean;
  readonly description: string;
}

/** Describes a command and everything below it. */
export function commandTree(command: Command, before = ''): CommandInfo {
  const isProgram = command.parent === null;
  const path = isProgram ? '' : `${before}${command.name()}`;
  const help = command.createHelp();
  return {
    path,
    name: command.name(),
    description: command.description(),
    usage: command.usage(),
    arguments: command.registeredArguments.map((argument) => ({
      name: argument.name(),
      required: argument.required,
      description: argument.description,
    })),
    options: help.visibleOptions(command).map((option) => ({
      short: option.short,
      long: option.long ?? option.flags,
      flags: option.flags,
      takesValue: option.required || option.optional,
      description: help.optionDescription(option),
    })),
    notes: notesOf(command),
    commands: command.commands.map((child) => commandTree(child, isProgram ? '' : `${path} `)),
  };
}

/** All commands that run something, in the order of the help. */
export function leaves(info: CommandInfo): CommandInfo[] {
  return info.commands.length === 0 ? [info] : info.commands.flatMap(leaves);
}

function notesOf(command: Command): string {
  let text = '';
  const before = command.configureOutput();
  command.configureOutput({ ...before, writeOut: (part) => (text += part) });
  command.outputHelp();
  command.configureOutput(before);
  return text.slice(command.helpInformation().length).trim();
}
