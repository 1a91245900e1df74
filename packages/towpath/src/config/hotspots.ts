import { join } from 'node:path';
import { TowpathError } from '@towpath/core';
import { z } from 'zod';
import { readPrivateFile, writePrivateFile } from './private-file.ts';

/** The hotspot of a camera that was woken. `password` is a secret. */
export interface Hotspot {
  readonly ssid: string;
  readonly password: string;
  /** Address of the access point. */
  readonly bssid?: string | undefined;
  /** Bluetooth address of the camera. */
  readonly device: string;
  /** Its name in Bluetooth. */
  readonly name: string;
}

const hotspotSchema: z.ZodType<Hotspot> = z.object({
  ssid: z.string().min(1).max(32),
  password: z.string().max(63),
  bssid: z.string().max(64).optional(),
  device: z.string().max(64),
  name: z.string().max(256),
});

const fileSchema = z.object({ hotspots: z.array(hotspotSchema) });

/** Cameras that are remembered. */
const MAX_HOTSPOTS = 100;

/** Hotspots of woken cameras in a file of mode 0600, the last one first. */
export class Hotspots {
  readonly #path: string;

  constructor(configFolder: string) {
    this.#path = join(configFolder, 'hotspots.json');
  }

  get path(): string {
    return this.#path;
  }

  /** @throws TowpathError `file-unreadable`, `damaged-file`. */
  list(): readonly Hotspot[] {
    const text = readPrivateFile(this.#path);
    if (text === undefined) return [];
    try {
      return fileSchema.parse(JSON.parse(text)).hotspots;
    } catch (cause) {
      throw new TowpathError(
        'damaged-file',
        `${this.#path} is damaged. Next: move it away, and wake the camera again.`,
        {
          target: this.#path,
          cause,
        },
      );
    }
  }

  /** @throws TowpathError `disk-failed`, and as {@link list}. */
  add(hotspot: Hotspot): void {
    const others = this.list().filter(({ device }) => device !== hotspot.device);
    const hotspots = [hotspot, ...others].slice(0, MAX_HOTSPOTS);
    writePrivateFile(this.#path, `${JSON.stringify({ hotspots }, null, 1)}\n`);
  }
}
