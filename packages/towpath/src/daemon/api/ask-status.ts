import type { DaemonStatus } from '@towpath/dashboard/api';
import { routePath } from '@towpath/dashboard/routes';
import { askDaemon, badAnswer } from './api-client.ts';

/**
 * Asks a running daemon for its status. Only what every command relies on is checked, without the schema: a daemon of
 * another version may lack a field that is new, and must still be ended by `towpath down`.
 * @throws as {@link askDaemon}; TowpathError `bad-answer` for a status of another form.
 */
export async function askStatus(runtime: Parameters<typeof askDaemon>[0]): Promise<DaemonStatus> {
  const status = await askDaemon<unknown>(runtime, 'GET', routePath('status'));
  if (!isStatus(status)) throw badAnswer('has another form');
  return status;
}

function isStatus(value: unknown): value is DaemonStatus {
  return isObject(value) && areAll(value.parties, isParty) && areAll(value.cameras, ({ name }) => isText(name));
}

function isParty({ id, name, peers, accepts }: Fields): boolean {
  const isNetwork = (one: Fields) => isText(one.peer) && isText(one.network);
  return isText(id) && isText(name) && areAll(peers, isPeer) && areAll(accepts, isNetwork);
}

function isPeer({ id, name, address, status, reason }: Fields): boolean {
  return [id, name, address, status].every(isText) && isObject(reason) && isText(reason.text);
}

type Fields = Readonly<Record<string, unknown>>;

function areAll(list: unknown, isOne: (one: Fields) => boolean): boolean {
  return Array.isArray(list) && list.every((one) => isObject(one) && isOne(one));
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null;
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}
