import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { IndexEntry } from '../src/media/media-index.ts';
import { formatIndex } from '../src/media/media-index.ts';
import { withExif } from '../src/outputs/export/exif.ts';
import { exportFolder } from '../src/outputs/export/export-folder.ts';

const TAKEN = 1_777_660_212; // 2026-05-01 18:30:12 of the camera
const JPEG = Buffer.from('ffd8ffe000104a46494600010100000100010000ffdaffd9', 'hex');
const metadata = { camera: 'Deer Path', serial: 'C2:00:5E:00:53:0A', takenAt: '2026-05-01T18:30:12+02:00' };

/** Reads the EXIF fields of a JPEG, by tag. */
function fieldsOf(jpeg: Uint8Array): Map<number, string> {
  const bytes = Buffer.from(jpeg);
  expect(bytes.readUInt16BE(2)).toBe(0xffe1);
  const tiff = bytes.subarray(12, 4 + bytes.readUInt16BE(4));
  expect(tiff.toString('latin1', 0, 4)).toBe('II*\0');
  const fields = new Map<number, string>();
  const read = (start: number): void => {
    for (let n = 0; n < tiff.readUInt16LE(start); n++) {
      const at = start + 2 + n * 12;
      const tag = tiff.readUInt16LE(at);
      const length = tiff.readUInt32LE(at + 4);
      if (tag === 0x8769) read(tiff.readUInt32LE(at + 8));
      else {
        const from = length <= 4 ? at + 8 : tiff.readUInt32LE(at + 8);
        fields.set(tag, tiff.toString('latin1', from, from + length).replace(/\0$/, ''));
      }
    }
  };
  read(tiff.readUInt32LE(4));
  return fields;
}

describe('EXIF (B13)', () => {
  test('has the date with its zone, the name and the id of the camera, and the picture stays', () => {
    const written = withExif(JPEG, metadata);
    expect(Object.fromEntries(fieldsOf(written))).toEqual({
      [0x0110]: 'Deer Path',
      [0x0132]: '2026:05:01 18:30:12',
      [0x9000]: '0232',
      [0x9003]: '2026:05:01 18:30:12',
      [0x9004]: '2026:05:01 18:30:12',
      [0x9010]: '+02:00',
      [0x9011]: '+02:00',
      [0xa431]: 'C2:00:5E:00:53:0A',
    });
    expect(Buffer.from(written.slice(-(JPEG.length - 2)))).toEqual(JPEG.subarray(2));
  });

  test('of the camera is kept, and what is no JPEG stays as it is', () => {
    const written = withExif(JPEG, metadata);
    expect(withExif(written, { ...metadata, camera: 'other' })).toBe(written);
    expect(withExif(Buffer.from('no picture'), metadata).toString()).toBe('no picture');
  });

  test('any bytes and any name do no harm', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.string({ unit: 'binary' }), (bytes, camera) => {
        withExif(Buffer.concat([Buffer.of(0xff, 0xd8), bytes]), { ...metadata, camera });
      }),
    );
  });
});

describe('an exported folder (B13)', () => {
  let folder: string;
  const from = () => join(folder, 'from');
  const to = () => join(folder, 'to');

  const entry = (mediaNum: number, file: string, more: Partial<IndexEntry> = {}): IndexEntry => ({
    fileType: file.endsWith('mp4') ? 1 : 0,
    dirNum: 100,
    mediaNum,
    durationMs: file.endsWith('mp4') ? 10_332 : 0,
    mediaId: 0xabc,
    mediaTime: TAKEN + mediaNum,
    file,
    bytes: JPEG.length,
    ...more,
  });

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'towpath-export-'));
    const { mkdir } = await import('node:fs/promises');
    await mkdir(from());
    const entries = [entry(1, '100_0001.jpg'), entry(2, '100_0002.mp4'), entry(3, '100_0003.jpg', { mediaTime: 0 })];
    for (const { file } of entries) await writeFile(join(from(), file!), JPEG);
    await writeFile(
      join(from(), 'index.json'),
      formatIndex('C2:00:5E:00:53:0A', [...entries, entry(4, '100_0004.jpg')]),
    );
  });

  afterEach(() => rm(folder, { recursive: true, force: true }));

  test('has copies with dates; what is missing is counted; the source stays', async () => {
    const summary = await exportFolder({ from: from(), to: to(), camera: 'Deer Path', timeZone: '+02:00' });
    expect(summary).toEqual({ exported: 3, missing: 1, undescribed: 0 });
    const copy = join(to(), '100_0001.jpg');
    expect(fieldsOf(await readFile(copy)).get(0x9003)).toBe('2026:05:01 18:30:13');
    expect((await stat(copy)).mtimeMs).toBe(Date.parse('2026-05-01T18:30:13+02:00'));
    expect(fieldsOf(await readFile(join(to(), '100_0003.jpg'))).has(0x9003)).toBe(false);
    expect(await readFile(join(from(), '100_0001.jpg'))).toEqual(JPEG);
  });

  test('as Camtrap DP has every required field of the standard', async () => {
    const camtrap = { latitude: 52.70442, longitude: 23.84995, contributor: 'Me, "myself"', createdMs: 0 };
    const summary = await exportFolder({ from: from(), to: to(), timeZone: '+02:00', camera: 'Deer, Path', camtrap });
    expect(summary).toEqual({ exported: 3, missing: 1, undescribed: 1 });
    expect((await readdir(to())).sort()).toEqual([
      'datapackage.json',
      'deployments.csv',
      'media',
      'media.csv',
      'observations.csv',
    ]);
    const about = JSON.parse(await readFile(join(to(), 'datapackage.json'), 'utf8'));
    for (const field of [
      'profile',
      'created',
      'contributors',
      'project',
      'spatial',
      'temporal',
      'taxonomic',
      'resources',
    ]) {
      expect(about).toHaveProperty(field);
    }
    for (const field of ['title', 'samplingDesign', 'captureMethod', 'individualAnimals', 'observationLevel']) {
      expect(about.project).toHaveProperty(field);
    }
    expect(about.temporal).toEqual({ start: '2026-05-01', end: '2026-05-01' });
    const resources = about.resources as { name: string; path: string; profile: string; schema: string }[];
    expect(resources.map(({ name }) => name)).toEqual(['deployments', 'media', 'observations']);
    for (const { profile, schema, name } of resources) {
      expect([profile, schema.endsWith(`/1.0.2/${name}-table-schema.json`)]).toEqual(['tabular-data-resource', true]);
    }
    const rows = async (name: string) => (await readFile(join(to(), name), 'utf8')).split('\r\n').slice(0, -1);
    expect(await rows('deployments.csv')).toEqual([
      'deploymentID,latitude,longitude,deploymentStart,deploymentEnd,cameraID,locationName',
      'deployment-1,52.70442,23.84995,2026-05-01T18:30:13+02:00,2026-05-01T18:30:14+02:00,C2:00:5E:00:53:0A,"Deer, Path"',
    ]);
    expect(await rows('media.csv')).toEqual([
      'mediaID,deploymentID,timestamp,filePath,filePublic,fileName,fileMediatype',
      `p100-1-abc-${TAKEN + 1},deployment-1,2026-05-01T18:30:13+02:00,media/100_0001.jpg,false,100_0001.jpg,image/jpeg`,
      `v100-2-abc-${TAKEN + 2},deployment-1,2026-05-01T18:30:14+02:00,media/100_0002.mp4,false,100_0002.mp4,video/mp4`,
    ]);
    const [head, , video] = await rows('observations.csv');
    expect(head).toBe('observationID,deploymentID,mediaID,eventStart,eventEnd,observationLevel,observationType');
    expect(video).toBe(
      `v100-2-abc-${TAKEN + 2}-1,deployment-1,v100-2-abc-${TAKEN + 2},2026-05-01T18:30:14+02:00,2026-05-01T18:30:25+02:00,media,unclassified`,
    );
  });

  test('is never the folder itself, and needs an index', async () => {
    await expect(exportFolder({ from: from(), to: from() })).rejects.toMatchObject({ code: 'bad-argument' });
    await expect(exportFolder({ from: folder, to: to() })).rejects.toMatchObject({ code: 'damaged-file' });
  });
});
