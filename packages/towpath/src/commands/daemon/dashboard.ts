import { TowpathError } from '@towpath/core';
import { routePath } from '@towpath/dashboard/routes';
import type { CommonOptions, Runtime } from '../../cli/runtime.ts';
import { readPrivateFile } from '../../config/private-file.ts';
import { askDaemon } from '../../daemon/api/api-client.ts';
import { readAddress } from '../../daemon/api/address-file.ts';
import { tokenPath } from '../../daemon/api/token.ts';
import { jsonLine } from '../../cli/json-output.ts';

/** Prints the link of the page. @throws TowpathError `not-running`, `no-page`. */
export async function dashboard(runtime: Runtime, { json }: CommonOptions): Promise<void> {
  const { io, configFolder } = runtime;
  // The file of a killed daemon stays behind.
  await askDaemon(runtime, 'GET', routePath('status'));
  const address = readAddress(configFolder);
  const token = readPrivateFile(tokenPath(configFolder))?.trim();
  if (address === undefined || token === undefined) {
    throw new TowpathError(
      'no-page',
      'The page is switched off. Next: set api.http to true, and start towpath up again.',
      {
        kind: 'local',
      },
    );
  }
  const link = pageLink(address, token);
  io.out(json ? jsonLine('dashboard', { address, link }) : link);
}

/** The part after # is not sent to anybody: the page exchanges it for a cookie. */
export function pageLink(address: string, token: string): string {
  return `${address}/#token=${token}`;
}
