import fc from 'fast-check';
import { expect, test } from 'vitest';
import { as, Typed, unwrapped, wrapped } from '../src/dbus/values.ts';
import { profileName, runningProcess } from '../src/wifi/leftovers.ts';
import { profileSettings } from '../src/wifi/profile.ts';

test('what is wrapped for a call comes back unwrapped', () => {
  const variant = (signature: string, value: unknown) => ({ signature, value });
  const json = fc.jsonValue().filter((value) => !JSON.stringify(value).includes('"signature"'));
  fc.assert(
    fc.property(json, (value) => {
      const deep = { list: [new Typed('v', value)], inner: { typed: new Typed('s', new Typed('v', value)) } };
      const clean = JSON.parse(JSON.stringify({ list: [value], inner: { typed: value } }));
      expect(JSON.parse(JSON.stringify(unwrapped(wrapped(deep, variant))))).toEqual(clean);
    }),
  );
});

test('readers take any value and return only their type', () => {
  fc.assert(
    fc.property(fc.anything({ withBigInt: true, withTypedArray: true }), (value) => {
      expect(['string', 'undefined']).toContain(typeof as.text(value));
      expect(['number', 'undefined']).toContain(typeof as.number(value));
      expect(['boolean', 'undefined']).toContain(typeof as.flag(value));
      expect(Array.isArray(as.list(value))).toBe(true);
      expect(typeof as.dictionary(value)).toBe('object');
      const bytes = as.bytes(value);
      expect(bytes === undefined || bytes instanceof Uint8Array).toBe(true);
    }),
  );
});

test('a profile is never the default route, not started by itself, and its name has no password (B10)', () => {
  const self = runningProcess(process.pid);
  expect(self?.startedAt).toBeGreaterThan(0);
  const name = profileName(self!, 'KJK_5301');
  const settings = profileSettings({ ssid: 'KJK_5301', password: '24681357' }, name);
  expect(settings.ipv4?.['never-default']).toEqual(new Typed('b', true));
  expect(settings.ipv6?.['never-default']).toEqual(new Typed('b', true));
  expect(settings.connection?.autoconnect).toEqual(new Typed('b', false));
  expect(name).not.toContain('24681357');
});

test('an open network gets no security settings', () => {
  expect(profileSettings({ ssid: 'OPEN', password: '' }, 'x')).not.toHaveProperty('802-11-wireless-security');
});

test('a process that has ended is not running', () => {
  expect(runningProcess(2 ** 30)).toBeUndefined();
});
