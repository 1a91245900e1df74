import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { ControlError, type ControlErrorCode } from '../src/control-error.ts';
import { signedRequestStatus } from '../src/http/http-status.ts';
import { clientMessageSchema, serverMessageSchema } from '../src/wire/messages.ts';
import { Rig } from './http-fixture.ts';

const doc = readFileSync(new URL('../../../docs/protocol/control.md', import.meta.url), 'utf8');
const section = (heading: string) => doc.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? '';
const rows = (text: string) =>
  text
    .split('\n')
    .filter((line) => /^\| (`|\d)/.test(line))
    .map((line) => line.split(' | ').map((cell) => cell.replace(/^\| | \|$/g, '')));

interface ObjectSchema {
  properties: Record<string, { const?: string }>;
  required?: string[];
}

/** `follow {party, next, announcement?}` for each kind of message. */
function shapes(schema: z.ZodType): string[] {
  const { anyOf, oneOf } = z.toJSONSchema(schema) as { anyOf?: ObjectSchema[]; oneOf?: ObjectSchema[] };
  return (oneOf ?? anyOf ?? []).map(({ properties, required = [] }) => {
    const fields = Object.keys(properties).filter((name) => name !== 'type');
    const list = fields.map((name) => (required.includes(name) ? name : `${name}?`)).join(', ');
    return `\`${properties.type?.const}\` \`{${list}}\``;
  });
}

/** The codes that the sources of the server throw. */
function thrownByServers(): ControlErrorCode[] {
  const files = ['server', 'http', 'store', 'wire'].flatMap((folder) => {
    const url = new URL(`../src/${folder}/`, import.meta.url);
    return readdirSync(url).map((name) => readFileSync(new URL(name, url), 'utf8'));
  });
  return files.flatMap((text) =>
    [...text.matchAll(/new ControlError\(\s*'([\w-]+)'/g)].map(([, code]) => code as ControlErrorCode),
  );
}

describe('docs/protocol/control.md', () => {
  test('lists every message of a WebSocket with its fields', () => {
    const [node = '', server = ''] = section('WebSocket').split('| from the server |');
    const listed = (text: string) => rows(text).map(([message]) => message);
    expect(listed(node).toSorted()).toEqual(shapes(clientMessageSchema).toSorted());
    const fromServer = listed(server).filter((message) => message?.startsWith('`'));
    expect(fromServer.toSorted()).toEqual(shapes(serverMessageSchema).toSorted());
  });

  test('lists every error code with its status', () => {
    const listed = rows(section('Errors')).flatMap(([statuses = '', codes = '']) =>
      [...codes.matchAll(/`([\w-]+)`/g)].map(([, code]) => [code, Number(statuses.split(', ').at(-1))]),
    );
    const given = thrownByServers().map((code) => [code, signedRequestStatus(new ControlError(code, ''))]);
    expect(Object.fromEntries(listed)).toEqual({ ...Object.fromEntries(given), internal: 500 });
  });

  test('lists every request with the fields of its body', async () => {
    await using rig = new Rig();
    const { paths } = (await rig.server()).openapi() as {
      paths: Record<
        string,
        Record<string, { security?: object; requestBody?: { content: Record<string, { schema: ObjectSchema }> } }>
      >;
    };
    const real = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).flatMap(([method, { security, requestBody }]) => {
        if (security === undefined) return [];
        const schema = requestBody?.content['application/json']?.schema;
        const fields = Object.keys(schema?.properties ?? {}).map((name) =>
          schema?.required?.includes(name) ? name : `${name}?`,
        );
        const parts = path.replace(/\{(\w+)\}/g, (_, name: string) => name.toUpperCase());
        return [
          `${method.toUpperCase()} ${parts} ${path.endsWith('/relays/{id}') ? 'relay' : fields.join(', ')}`.trim(),
        ];
      }),
    );
    const listed = rows(section('HTTP requests')).map(([request = '', what = '']) => {
      const body = /^`\{([^}]*)\}` →/.exec(what)?.[1] ?? /^(relay) →/.exec(what)?.[1] ?? '';
      return `${request.replaceAll('`', '').split('?')[0]} ${body}`.trim();
    });
    expect(listed.toSorted()).toEqual(real.toSorted());
  });
});
