import { FileType } from '../../artemis/media-item.ts';
import { captureTime } from '../../media/capture-time.ts';
import type { IndexEntry } from '../../media/media-index.ts';

/** Camera Trap Data Package 1.0.2 (camtrap-dp.tdwg.org): what programs for wildlife research read. */

const VERSION = '1.0.2';
const BASE = `https://raw.githubusercontent.com/tdwg/camtrap-dp/${VERSION}`;

export interface CamtrapOptions {
  /** Where the camera is, degrees (WGS84). */
  readonly latitude: number;
  readonly longitude: number;
  /** Name of the camera. */
  readonly camera: string;
  readonly deviceId: string | undefined;
  /** Who publishes the data. */
  readonly contributor: string;
  /** When the package is made, ms since the Unix epoch. */
  readonly createdMs: number;
  /** Zone of the camera's clock. */
  readonly timeZone?: string | undefined;
}

/** A file of the package: its name and its text. */
export type PackageFiles = ReadonlyMap<string, string>;

const MEDIA_TYPES: ReadonlyMap<string, string> = new Map([
  ['jpg', 'image/jpeg'],
  ['mp4', 'video/mp4'],
  ['avi', 'video/x-msvideo'],
]);

const DEPLOYMENT = 'deployment-1';

/**
 * Returns the files of a package. Every item is one observation that nobody has classified yet.
 * @param items with a file and a time; others cannot be described
 * @param folder of the media files, relative to the package
 */
export function camtrapPackage(items: readonly IndexEntry[], folder: string, options: CamtrapOptions): PackageFiles {
  const media = items
    .flatMap((entry) => {
      const taken = captureTime(entry.mediaTime, options.timeZone);
      const type = MEDIA_TYPES.get(entry.file?.split('.').at(-1) ?? '');
      return taken !== undefined && entry.file !== undefined && type !== undefined
        ? [{ entry, file: entry.file, type, taken }]
        : [];
    })
    .sort((a, b) => a.taken.epochMs - b.taken.epochMs || a.file.localeCompare(b.file));
  const first = media[0]?.taken.iso ?? '';
  const last = media.at(-1)?.taken.iso ?? '';
  const { latitude, longitude, camera, deviceId = '' } = options;
  const deployments = [
    ['deploymentID', 'latitude', 'longitude', 'deploymentStart', 'deploymentEnd', 'cameraID', 'locationName'],
    [DEPLOYMENT, latitude, longitude, first, last, deviceId, camera],
  ];
  const mediaRows = media.map(({ entry, file, type, taken }) => {
    return [idOf(entry), DEPLOYMENT, taken.iso, `${folder}/${file}`, 'false', file, type];
  });
  const observations = media.map(({ entry, taken }) => {
    const end = captureTime(entry.mediaTime + Math.ceil(entry.durationMs / 1_000), options.timeZone) ?? taken;
    return [`${idOf(entry)}-1`, DEPLOYMENT, idOf(entry), taken.iso, end.iso, 'media', 'unclassified'];
  });
  return new Map([
    ['datapackage.json', `${JSON.stringify(descriptor(options, first, last), null, 2)}\n`],
    ['deployments.csv', csv(deployments)],
    [
      'media.csv',
      csv([
        ['mediaID', 'deploymentID', 'timestamp', 'filePath', 'filePublic', 'fileName', 'fileMediatype'],
        ...mediaRows,
      ]),
    ],
    [
      'observations.csv',
      csv([
        ['observationID', 'deploymentID', 'mediaID', 'eventStart', 'eventEnd', 'observationLevel', 'observationType'],
        ...observations,
      ]),
    ],
  ]);
}

function descriptor(
  { latitude, longitude, camera, contributor, createdMs }: CamtrapOptions,
  first: string,
  last: string,
) {
  return {
    profile: `${BASE}/camtrap-dp-profile.json`,
    name: 'camera-trap',
    created: new Date(createdMs).toISOString(),
    contributors: [{ title: contributor, role: 'contributor' }],
    project: {
      title: camera,
      samplingDesign: 'opportunistic',
      captureMethod: ['activityDetection'],
      individualAnimals: false,
      observationLevel: ['media'],
    },
    spatial: { type: 'Point', coordinates: [longitude, latitude] },
    temporal: { start: first.slice(0, 10), end: last.slice(0, 10) },
    taxonomic: [],
    resources: ['deployments', 'media', 'observations'].map((name) => ({
      name,
      path: `${name}.csv`,
      profile: 'tabular-data-resource',
      format: 'csv',
      mediatype: 'text/csv',
      encoding: 'utf-8',
      schema: `${BASE}/${name}-table-schema.json`,
    })),
  };
}

/** Unique also after the card was formatted and its numbers began anew. */
function idOf({ fileType, dirNum, mediaNum, mediaId, mediaTime }: IndexEntry): string {
  const kind = fileType === FileType.photo ? 'p' : 'v';
  return `${kind}${dirNum}-${mediaNum}-${(mediaId >>> 0).toString(16)}-${mediaTime}`;
}

/** RFC 4180. */
function csv(rows: readonly (readonly (string | number)[])[]): string {
  const cell = (value: string | number) => {
    const text = String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => `${row.map(cell).join(',')}\r\n`).join('');
}
