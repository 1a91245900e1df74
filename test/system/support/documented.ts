import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../../..');

/** The commands in the `sh` blocks of a document, as they stand there; lines that continue are joined, comments stay. */
export function documentedCommands(file: string): string[] {
  const blocks = [...readFileSync(join(ROOT, file), 'utf8').matchAll(/^```sh\n(.*?)^```/gms)];
  return blocks
    .flatMap(([, block = '']) => block.replaceAll(/ \\\n\s*/g, ' ').split('\n'))
    .filter((line) => line !== '' && !line.startsWith('#'));
}

/** The one command of a document that begins with `start` and contains `more`. @throws when there is not exactly one. */
export function documentedCommand(file: string, start: string, more = ''): string {
  const found = documentedCommands(file).filter((line) => line.startsWith(start) && line.includes(more));
  if (found.length !== 1) throw new Error(`${file} has ${found.length} commands "${start}… ${more}".`);
  return found[0]!;
}
