import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CommandId, commandName } from '../src/artemis/command-id.ts';
import {
  type Command,
  deviceInfo,
  formatSdCard,
  login,
  mediaList,
  refusal,
  requestText,
  startPlayback,
} from '../src/artemis/commands.ts';
import { type JsonObject, parseJsonObject } from '../src/artemis/json.ts';

const capture = new URL('../../../../shared/captures/app_log_20251223.messages.jsonl', import.meta.url);

function parse<Fields, Response>(command: Command<Fields, Response>, json: JsonObject): Response {
  const result = command.parse(json);
  if (!result.ok) throw new Error(result.message);
  return result.value;
}

describe('command', () => {
  test('puts its number first and the token last (B3)', () => {
    expect(requestText(768, { itemCntPerPage: 45, pageNo: 0 }, 1234)).toBe(
      '{"cmdId":768,"itemCntPerPage":45,"pageNo":0,"token":1234}',
    );
    expect(requestText(525, {})).toBe('{"cmdId":525}');
  });

  test('has a name for every number of the table, each number once (B3)', () => {
    const ids = Object.values(CommandId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.map(commandName)).toEqual(Object.keys(CommandId));
    expect(commandName(4711)).toBe('command 4711');
  });

  test('answers of a recorded session are all understood (B3)', (context) => {
    if (!existsSync(capture)) context.skip('the captures are not beside this repository');
    const seen = new Map<number, number>();
    for (const line of readFileSync(capture, 'utf8').trim().split('\n')) {
      const { kind, json_text: text } = JSON.parse(line);
      if (kind !== 'response' || text === null) continue;
      const json = parseJsonObject(text);
      if (!json.ok) throw new Error(text);
      const id = Number(json.value.cmdId);
      seen.set(id, (seen.get(id) ?? 0) + 1);
      expect(refusal(json.value)).toBeUndefined();
      if (id === CommandId.mediaList) expect(parse(mediaList, json.value).items).toHaveLength(45);
      if (id === CommandId.deviceInfo) {
        const info = parse(deviceInfo, json.value);
        expect(info).toMatchObject({ modelName: 'KJK230', fwVerName: '2.3.0.4', isCharging: false, sdTotalMB: 30196 });
        expect(Object.keys(info.fields)).toHaveLength(75);
      }
    }
    expect([...seen.keys()].sort((a, b) => a - b)).toEqual(expect.arrayContaining([512, 768, 772]));
  });

  test('refusals are seen in each of the status fields (B3)', () => {
    expect(refusal({ result: 0, getMediaListRet: -3, errorMsg: 'need less than 50' })).toEqual({
      getMediaListRet: -3,
      errorMsg: 'need less than 50',
    });
    for (const field of ['result', 'cmdRet', 'startPbRet', 'delRet', 'formatRet']) {
      expect(refusal({ [field]: 5 })).toEqual({ [field]: 5 });
    }
    expect(refusal({ errorMsg: 'Success' })).toBeUndefined();
  });

  test('answers keep their meaning when a field has an unexpected type (B3)', () => {
    expect(parse(deviceInfo, { devId: 'a', batPercent: 'full', temperature: 19 })).toMatchObject({ temperature: 19 });
    expect(parse(deviceInfo, { devId: 'a', batPercent: 'full' }).batPercent).toBeUndefined();
    expect(deviceInfo.parse({ devId: 7 }).ok).toBe(false);
    expect(login.parse({ token: '7' }).ok).toBe(false);
    expect(parse(formatSdCard, { sdTotalMB: 100, sdFreeMB: -1 })).toEqual({ sdTotalMB: 100 });
    expect(parse(startPlayback, { videoWidth: 1920, result: 0 })).toEqual({ videoWidth: 1920 });
  });

  test('media lists drop entries that name no item and still count them (B3)', () => {
    const good = { fileType: 0, mediaDirNum: 100, mediaNum: 7, durationMs: 0, mediaId: 1, mediaTime: 2 };
    const page = parse(mediaList, { mediaFiles: [good, { ...good, mediaNum: 70_000 }, null, '../x'], pageNo: 1 });
    expect(page).toEqual({
      pageNo: 1,
      unreadable: 3,
      items: [{ fileType: 0, dirNum: 100, mediaNum: 7, durationMs: 0, mediaId: 1, mediaTime: 2 }],
    });
    expect(parse(mediaList, { result: 0 })).toEqual({ pageNo: 0, unreadable: 0, items: [] });
  });

  test('answers of any JSON are read or refused, never thrown at (B3)', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        const json = parseJsonObject(text);
        if (!json.ok) return;
        for (const command of [login, deviceInfo, mediaList, formatSdCard, startPlayback]) command.parse(json.value);
        refusal(json.value);
      }),
    );
    expect(parseJsonObject('[1]').ok).toBe(false);
    expect(parseJsonObject('{').ok).toBe(false);
  });
});
