import { join } from 'node:path';
import { errorMessage } from '@towpath/core';
import type { MeshPathFinderOptions } from '@towpath/mesh';
import type { Runtime } from '../../cli/runtime.ts';
import { readPrivateFile, writePrivateFile } from '../../config/private-file.ts';

/** What worked between pairs of networks, in a file that only the owner can read. Losing it costs time and nothing else. */
export function pairMemoryFile({ configFolder, log }: Runtime): NonNullable<MeshPathFinderOptions['memory']> {
  const path = join(configFolder, 'networks.json');
  return {
    snapshot: read(path),
    save: (snapshot) => {
      try {
        writePrivateFile(path, `${JSON.stringify(snapshot)}\n`);
      } catch (error) {
        log.debug(`${path} was not written: ${errorMessage(error)}`);
      }
    },
  };
}

function read(path: string): unknown {
  try {
    return JSON.parse(readPrivateFile(path) ?? '{}');
  } catch {
    // Damaged: it is begun anew.
    return undefined;
  }
}
