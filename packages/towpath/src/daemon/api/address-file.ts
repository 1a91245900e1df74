import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { readPrivateFile, writePrivateFile } from '../../config/private-file.ts';

/** Where the page is served now, for the command that prints its link. */
function addressPath(stateFolder: string): string {
  return join(stateFolder, 'api-address');
}

/** Writes the address for as long as the result is not disposed of. @throws TowpathError `disk-failed`. */
export function publishAddress(stateFolder: string, address: string | undefined): Disposable {
  const path = addressPath(stateFolder);
  if (address === undefined) rmSync(path, { force: true });
  else writePrivateFile(path, `${address}\n`);
  return { [Symbol.dispose]: () => rmSync(path, { force: true }) };
}

/** undefined while the daemon does not run, or serves no page. */
export function readAddress(stateFolder: string): string | undefined {
  return readPrivateFile(addressPath(stateFolder))?.trim();
}
