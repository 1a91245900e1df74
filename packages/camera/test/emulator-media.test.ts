import { decode } from 'jpeg-js';
import { describe, expect, test } from 'vitest';
import { decodeFileRecord, fileCheckHolds } from '../src/artemis/record.ts';
import { Card } from '../src/emulator/card.ts';
import {
  drawnPictures,
  type ImmediatePictureSource,
  paddedPictures,
  type RecordSubject,
} from '../src/emulator/media/picture-source.ts';

const card = new Card(7, 83, 0);

function subject(index: number, change: Partial<RecordSubject> = {}): RecordSubject {
  const item = card.page(0, 83)[index]!;
  return { seed: 7, cameraName: 'TOWPATH 01', deviceId: '02:54:50:00:00:07', isVideo: false, ...item, ...change };
}

function jpegOf(record: Uint8Array): Uint8Array {
  const decoded = decodeFileRecord(record);
  if (!decoded.ok) throw new Error(decoded.message);
  return decoded.value.data;
}

describe('pictures of an emulated camera (B11)', () => {
  test('are baseline JPEGs of the sizes that the real camera sends', () => {
    const media = drawnPictures();
    for (const index of [0, 31, 82]) {
      const photo = jpegOf(media.fileRecord(subject(index)));
      expect(photo.length).toBeGreaterThan(200_000);
      expect(photo.length).toBeLessThan(330_000);
      expect(decode(photo, { useTArray: true })).toMatchObject({ width: 1280, height: 720 });
    }
    for (let index = 0; index < 83; index += 3) {
      const thumbnail = jpegOf(media.thumbnailRecord(subject(index)));
      expect(thumbnail.length).toBeGreaterThan(13_000);
      expect(thumbnail.length).toBeLessThan(38_000);
      if (index % 27 === 0) expect(decode(thumbnail, { useTArray: true })).toMatchObject({ width: 320, height: 180 });
    }
  });

  test('are the same bytes on every request and from every source, and differ from item to item', () => {
    const draw = (index: number, change?: Partial<RecordSubject>) =>
      Buffer.from(drawnPictures().thumbnailRecord(subject(index, change))).toString('base64');
    expect(draw(4)).toBe(draw(4));
    expect(new Set([draw(4), draw(5), draw(4, { seed: 8 }), draw(4, { cameraName: 'TOWPATH 02' })]).size).toBe(4);
  });

  test('carry an end check that holds in the record of the file', () => {
    const record = decodeFileRecord(paddedPictures().fileRecord(subject(3)));
    expect(record.ok && fileCheckHolds(record.value)).toBe(true);
  });

  test.each([200, 262_144, 65_535 + 5, 1_048_377])('are padded to exactly %i bytes and still decode', (photoBytes) => {
    const small = jpegOf(paddedPictures({ photoBytes: 0 }).fileRecord(subject(0))).length;
    const jpeg = jpegOf(paddedPictures({ photoBytes: small + photoBytes }).fileRecord(subject(0)));
    expect(jpeg.length).toBe(small + photoBytes);
    expect(decode(jpeg, { useTArray: true })).toMatchObject({ width: 160, height: 90 });
  });

  test('are different for every item also when they are padded', () => {
    const pictures = paddedPictures();
    const all = [0, 1, 2].map((index) =>
      Buffer.from(jpegOf(pictures.thumbnailRecord(subject(index)))).toString('base64'),
    );
    expect(new Set(all).size).toBe(3);
  });

  test('are held in a cache that does not grow beyond its limit', () => {
    const media = paddedPictures({ photoBytes: 50_000, cacheBytes: 120_000 });
    const first = media.fileRecord(subject(0));
    expect(media.fileRecord(subject(0))).toBe(first);
    media.fileRecord(subject(1));
    expect(media.fileRecord(subject(0))).toBe(first);
    media.fileRecord(subject(2));
    expect(media.fileRecord(subject(0))).toBe(first);
    const second: ImmediatePictureSource['fileRecord'] = media.fileRecord;
    expect(second(subject(1))).toEqual(paddedPictures({ photoBytes: 50_000 }).fileRecord(subject(1)));
    expect(media.fileRecord(subject(2))).not.toBe(first);
  });
});

describe('the card of an emulated camera (B11)', () => {
  test('lists its items newest first and in pages', () => {
    expect(card.page(0, 45)).toHaveLength(45);
    expect(card.page(1, 45)).toHaveLength(38);
    expect(card.page(2, 45)).toEqual([]);
    const numbers = [...card.page(0, 45), ...card.page(1, 45)].map((item) => item.mediaNum);
    expect(numbers).toEqual(Array.from({ length: 83 }, (_, index) => 83 - index));
  });

  test('opens the next folder after 999 items', () => {
    const large = new Card(1, 1001, 10);
    expect(large.page(0, 3).map((item) => [item.dirNum, item.mediaNum, item.fileType])).toEqual([
      [101, 2, 0],
      [101, 1, 1],
      [100, 999, 0],
    ]);
  });

  test('loses what is deleted, and everything when it is formatted', () => {
    const small = new Card(1, 5, 0);
    const [newest] = small.page(0, 1);
    expect(small.delete(newest!)).toBe(true);
    expect(small.delete(newest!)).toBe(false);
    expect(small.page(0, 9)).toHaveLength(4);
    small.format();
    expect(small.page(0, 9)).toEqual([]);
    expect(small.add(0).mediaNum).toBe(6);
  });
});
