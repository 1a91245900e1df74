import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { freePort } from '../../net/test/free-port.ts';
import { CommandLine } from './command-line.ts';

const LONG = { interval: 20 };

describe('camera emulate (C9)', { timeout: 120_000 }, () => {
  let commandLine: CommandLine;

  beforeEach(() => {
    commandLine = new CommandLine();
  });

  afterEach(() => commandLine[Symbol.dispose]());

  test('is found on the loopback interface by a search without an address; with a key only by a keyed one', async () => {
    for (const key of [[], ['--key', 'camera']]) {
      const searchPort = String(await freePort());
      const running = commandLine.start([
        'camera',
        'emulate',
        '--port',
        '0',
        '--search-port',
        searchPort,
        '--json',
        ...key,
      ]);
      await expect.poll(() => running.out.length, LONG).toBeGreaterThan(0);
      const find = (...more: string[]) =>
        commandLine.run(['camera', 'find', '--search-port', searchPort, '--timeout', '1', '--json', ...more]);
      const plain = await find();
      const found = (out: string[]) =>
        out.map((line) => JSON.parse(line)).filter(({ type }) => type === 'camera-found');
      expect(found(plain.out).map(({ address }) => address)).toEqual(key.length === 0 ? ['127.0.0.1'] : []);
      const keyed = await find('--key', 'camera');
      expect(found(keyed.out).map(({ keyed: isKeyed }) => isKeyed)).toEqual([key.length > 0]);
      await running.stop();
    }
  });

  test('prints a command that reaches it, and has videos on its card when asked for them', async () => {
    const [port, searchPort] = [String(await freePort()), String(await freePort())];
    const place = ['--port', port, '--search-port', searchPort];
    const running = commandLine.start([
      'camera',
      'emulate',
      ...place,
      '--items',
      '6',
      '--videos-every',
      '3',
      '--offer-tcp',
    ]);
    const next = () => running.err.find((line) => line.startsWith('Next: '));
    await expect.poll(next, LONG).toBeDefined();
    expect(next()).toBe(`Next: towpath camera connect 127.0.0.1 --ports ${port} --search-port ${searchPort}`);
    const [, , ...command] = next()!.split(' ');
    expect(await commandLine.run(command)).toMatchObject({ code: 0 });
    const [, , ...target] = command;
    const list = await commandLine.run(['camera', 'media', ...target, '--json']);
    const types = list.out.flatMap((line) => JSON.parse(line));
    expect(types.filter(({ fileType }) => fileType !== 0)).toHaveLength(2);
    await running.stop();
  });
});
