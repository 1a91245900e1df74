import { decodeLiveFrame, encodeLiveFrame, eventBatchSchema, routePath, routes } from '@towpath/dashboard/api';
import { describe, expect, test } from 'vitest';

describe('the schemas of the daemon and the page (C13)', () => {
  test('a path takes its parts as URI components, and misses none', () => {
    expect(routePath('thumbnail', { camera: 'feeder', media: '0-100/318' })).toBe(
      '/v1/cameras/feeder/media/0-100%2F318/thumbnail',
    );
    expect(() => routePath('camera')).toThrow(/needs camera/);
  });

  test('all paths are of version 1, except health and metrics', () => {
    const others = Object.values(routes).filter(({ path }) => !path.startsWith('/v1/'));
    expect(others.map(({ path }) => path)).toEqual(['/health', '/metrics']);
  });

  test('a live frame survives the wire, and a short one is refused', () => {
    const frame = { keyFrame: true, timestampUs: 1_234_567_890_123, data: Uint8Array.of(0, 0, 0, 1, 0x65) };
    expect(decodeLiveFrame(encodeLiveFrame(frame))).toEqual(frame);
    expect(decodeLiveFrame(new Uint8Array(8))).toBeUndefined();
  });

  test('an unknown event is refused', () => {
    const batch = { version: 1, run: 'r', sequence: 1, reset: false, at: '2026-05-01T12:00:00Z' };
    expect(eventBatchSchema.safeParse({ ...batch, events: [{ type: 'party-removed', party: 'p' }] }).success).toBe(
      true,
    );
    expect(eventBatchSchema.safeParse({ ...batch, events: [{ type: 'weather' }] }).success).toBe(false);
  });
});
