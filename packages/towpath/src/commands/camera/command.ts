import { CommandId } from '@towpath/camera';
import { UsageError } from '../../cli/failure.ts';
import type { Runtime } from '../../cli/runtime.ts';
import { type TargetOptions, withCamera } from './target.ts';
import { jsonLine } from '../../cli/json-output.ts';

export async function command(
  runtime: Runtime,
  id: string,
  fieldsText: string,
  host: string,
  options: TargetOptions,
): Promise<void> {
  const { io, signal } = runtime;
  const number = commandNumber(id);
  const fields = parseFields(fieldsText);
  const answer = await withCamera(runtime, host, options, (camera) => camera.command(number, fields, { signal }));
  io.out(options.json ? jsonLine('answer', { answer }) : JSON.stringify(answer, null, 2));
}

function commandNumber(id: string): number {
  if (/^\d{1,5}$/.test(id)) return Number(id);
  if (Object.hasOwn(CommandId, id)) return CommandId[id as keyof typeof CommandId];
  throw new UsageError(`Unknown command "${id}". Next: give a number, or one of ${Object.keys(CommandId).join(', ')}.`);
}

function parseFields(text: string): object {
  let fields: unknown;
  try {
    fields = JSON.parse(text);
  } catch (cause) {
    throw new UsageError(`The fields are not JSON: ${cause instanceof Error ? cause.message : text}`);
  }
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) {
    throw new UsageError('The fields must be a JSON object, such as {"pageNo":0}.');
  }
  return fields;
}
