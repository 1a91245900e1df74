import { errorCode, SystemClock, SystemRandom } from '@towpath/core';
import { type Endpoint, NodeNetwork } from '@towpath/net';
import { describe, expect, test } from 'vitest';
import { LongTermAuth } from '../src/client/long-term-auth.ts';
import { requestWithAuth, StunClient, successOf } from '../src/client/stun-client.ts';
import { type StunRequest, StunTransactions } from '../src/client/stun-transactions.ts';
import * as attr from '../src/message/attributes.ts';
import { MessageClass, Method } from '../src/message/header.ts';
import { longTermKey, PasswordAlgorithm, shortTermKey, userhashOf } from '../src/message/integrity.ts';
import { decodeStun, type StunMessage } from '../src/message/stun-message.ts';
import { StunWriter } from '../src/message/stun-writer.ts';
import { StunServer } from '../src/server/stun-server.ts';
import { TurnServer } from '../src/turn/server/turn-server.ts';
import { world } from './support/internet.ts';
import { turnServer } from './support/turn.ts';

const SERVER: Endpoint = { address: '192.0.2.1', port: 3478 };
const ME: Endpoint = { address: '198.51.100.7', port: 4000 };

function decoded(bytes: Uint8Array): StunMessage {
  const result = decodeStun(bytes);
  if (!result.ok) throw new Error(result.failure);
  return result.message;
}

/** Transactions whose sends are recorded and answered by hand. */
function bench(reliable = false) {
  const { clock, random } = world();
  const sent: { at: number; message: StunMessage }[] = [];
  const transactions = new StunTransactions({
    clock,
    random,
    reliable,
    send: (data) => sent.push({ at: clock.now(), message: decoded(Uint8Array.from(data)) }),
  });
  const answer = (messageClass: MessageClass, write: (writer: StunWriter) => StunWriter, to = sent.at(-1)!.message) => {
    const writer = new StunWriter(messageClass, to.method, to.transactionId);
    return transactions.handle(decoded(write(writer).finish()), SERVER);
  };
  return { clock, transactions, sent, answer };
}

const binding: StunRequest = { method: Method.Binding };
const withAddress = (writer: StunWriter) => writer.add(attr.xorMappedAddress, ME);

describe('STUN transactions', () => {
  test('repeat at the times of RFC 8489 §6.2.1 and give up after 39.5 s', async () => {
    const { clock, transactions, sent } = bench();
    const failed = transactions.request(SERVER, binding).catch(errorCode);
    expect(await clock.runUntil(failed)).toBe('stun-timed-out');
    expect(sent.map(({ at }) => at)).toEqual([0, 500, 1_500, 3_500, 7_500, 15_500, 31_500]);
    expect(clock.now()).toBe(39_500);
    expect(new Set(sent.map(({ message }) => Buffer.from(message.bytes).toString('hex'))).size).toBe(1);
    expect(clock.pendingTimers).toBe(0);
  });

  test('are sent once over a reliable transport and given up after 39.5 s', async () => {
    const { clock, transactions, sent } = bench(true);
    const failed = transactions.request(SERVER, binding).catch(errorCode);
    expect(await clock.runUntil(failed)).toBe('stun-timed-out');
    expect([sent.length, clock.now()]).toEqual([1, 39_500]);
  });

  test('measure the round trip, unless it is not known which copy was answered', async () => {
    const { clock, transactions, answer } = bench();
    const first = transactions.request(SERVER, binding);
    await clock.advance(40);
    answer(MessageClass.Success, withAddress);
    expect((await first).rttMs).toBe(40);
    const second = transactions.request(SERVER, binding);
    await clock.advance(600);
    answer(MessageClass.Success, withAddress);
    expect((await second).rttMs).toBeUndefined();
    expect([transactions.size, clock.pendingTimers]).toEqual([0, 0]);
  });

  test('do not take requests, indications or answers to somebody else', async () => {
    const { transactions, sent } = bench();
    const pending = transactions.request(SERVER, binding);
    const stranger = new StunWriter(MessageClass.Success, Method.Binding, new Uint8Array(12)).finish();
    expect(transactions.handle(decoded(stranger), SERVER)).toBe(false);
    const echo = new StunWriter(MessageClass.Request, Method.Binding, sent[0]!.message.transactionId).finish();
    expect(transactions.handle(decoded(echo), SERVER)).toBe(false);
    transactions.close();
    await expect(pending).rejects.toMatchObject({ code: 'stun-closed' });
  });

  test('wait on when an answer is not signed, or with another key', async () => {
    const { clock, transactions, answer } = bench();
    const key = shortTermKey('ours');
    const pending = transactions.request(SERVER, { ...binding, key });
    expect(answer(MessageClass.Success, withAddress)).toBe(true);
    expect(answer(MessageClass.Success, (writer) => withAddress(writer).integrity(shortTermKey('theirs')))).toBe(true);
    expect(
      answer(MessageClass.Error, (writer) =>
        writer.add(attr.errorCode, { code: 400, reason: '' }).integrity(shortTermKey('theirs')),
      ),
    ).toBe(true);
    await clock.advance(10);
    expect(transactions.size).toBe(1);
    answer(MessageClass.Success, (writer) => withAddress(writer).integrity(key));
    expect((await pending).message.get(attr.xorMappedAddress)).toEqual(ME);
  });

  test.each([
    ['sha256', 'sha1'],
    ['sha1', 'sha256'],
  ] as const)('that are signed with %s do not take an answer that is signed with %s', async (ours, theirs) => {
    const { clock, transactions, answer } = bench();
    const key = shortTermKey('ours');
    const pending = transactions.request(SERVER, { ...binding, key, integrity: ours });
    answer(MessageClass.Success, (writer) => withAddress(writer).integrity(key, theirs));
    answer(MessageClass.Error, (writer) =>
      writer.add(attr.errorCode, { code: 400, reason: '' }).integrity(key, theirs),
    );
    await clock.advance(10);
    expect(transactions.size).toBe(1);
    answer(MessageClass.Success, (writer) => withAddress(writer).integrity(key, ours));
    expect((await pending).message.get(attr.xorMappedAddress)).toEqual(ME);
  });

  test('fail when an answer has a required attribute that nobody knows', async () => {
    const { transactions, answer } = bench();
    const pending = transactions.request(SERVER, binding);
    const strange = { ...attr.priority, type: 0x7ffe };
    answer(MessageClass.Success, (writer) => writer.add(strange, 1));
    await expect(pending).rejects.toMatchObject({
      code: 'stun-bad-response',
      message: expect.stringContaining('0x7ffe'),
    });
  });

  test('stop at once when the signal aborts', async () => {
    const { clock, transactions, sent } = bench();
    const stop = new AbortController();
    const pending = transactions.request(SERVER, { ...binding, signal: stop.signal });
    stop.abort(new Error('enough'));
    await expect(pending).rejects.toThrow('enough');
    await clock.advance(60_000);
    expect([sent.length, clock.pendingTimers]).toEqual([1, 0]);
  });
});

describe('long-term credentials', () => {
  const auth = () => new LongTermAuth({ username: 'me', password: 'pw' });

  test('answer a challenge, and a stale nonce after it', async () => {
    const { transactions, sent, answer, clock } = bench();
    const pending = requestWithAuth(transactions, auth(), SERVER, binding);
    const challenge = (code: number, nonce: string) => (writer: StunWriter) =>
      writer.add(attr.errorCode, { code, reason: '' }).add(attr.realm, 'r').add(attr.nonce, nonce);
    answer(MessageClass.Error, challenge(401, 'one'));
    await clock.advance(0);
    answer(MessageClass.Error, challenge(438, 'two'));
    await clock.advance(0);
    const [plain, first, second] = sent.map(({ message }) => message);
    expect(plain!.has(attr.username)).toBe(false);
    expect([first!.get(attr.nonce), second!.get(attr.nonce)]).toEqual(['one', 'two']);
    const key = longTermKey('me', 'r', 'pw');
    expect(second!.checkIntegrity(key)).toBe('valid');
    answer(MessageClass.Success, (writer) => withAddress(writer).integrity(key));
    expect((await pending).message.class).toBe(MessageClass.Success);
  });

  test.each([
    [[PasswordAlgorithm.Md5, PasswordAlgorithm.Sha256], PasswordAlgorithm.Md5],
    [[77, PasswordAlgorithm.Sha256, PasswordAlgorithm.Md5], PasswordAlgorithm.Sha256],
  ])('of %j take the first one that is known, and hide the user name (RFC 8489 §9.2.5)', async (list, first) => {
    const { transactions, sent, answer, clock } = bench();
    const pending = requestWithAuth(transactions, auth(), SERVER, binding).catch(errorCode);
    const nonce = `obMatJos2${Buffer.from([0, 0, 3]).toString('base64')}x`;
    const offered = list.map((algorithm) => ({ algorithm, parameters: new Uint8Array(0) }));
    answer(MessageClass.Error, (writer) =>
      writer
        .add(attr.errorCode, { code: 401, reason: '' })
        .add(attr.realm, 'r')
        .add(attr.nonce, nonce)
        .add(attr.passwordAlgorithms, offered),
    );
    await clock.advance(0);
    const { message } = sent.at(-1)!;
    expect(message.has(attr.username)).toBe(false);
    expect(Buffer.from(message.get(attr.userhash)!)).toEqual(Buffer.from(userhashOf('me', 'r')));
    const has = [attr.messageIntegrity, attr.messageIntegritySha256].map((attribute) => message.has(attribute));
    expect(has).toEqual([false, true]);
    const key = longTermKey('me', 'r', 'pw', first);
    expect(message.checkIntegrity(key)).toBe('valid');
    expect(message.get(attr.passwordAlgorithms)?.map(({ algorithm }) => algorithm)).toEqual(list);
    answer(MessageClass.Success, (writer) => withAddress(writer).integrity(key, 'sha1'));
    answer(MessageClass.Success, (writer) => withAddress(writer).integrity(key, 'sha256'));
    expect(await pending).toMatchObject({ message: { class: MessageClass.Success } });
    expect(transactions.size).toBe(0);
  });

  test.each([
    ['announces algorithms and lists none', [0, 0, 1], []],
    ['lists only algorithms that nobody knows', [0, 0, 1], [77]],
  ])('are not retried when the challenge %s (RFC 8489 §9.2.5)', async (_why, bits, algorithms) => {
    const { transactions, sent, answer, clock } = bench();
    const pending = requestWithAuth(transactions, auth(), SERVER, binding).catch(errorCode);
    answer(MessageClass.Error, (writer) =>
      writer
        .add(attr.errorCode, { code: 401, reason: '' })
        .add(attr.realm, 'r')
        .add(attr.nonce, `obMatJos2${Buffer.from(bits).toString('base64')}x`)
        .addIf(
          attr.passwordAlgorithms,
          algorithms.length === 0
            ? undefined
            : algorithms.map((algorithm) => ({ algorithm, parameters: new Uint8Array(0) })),
        ),
    );
    await clock.advance(0);
    expect(await pending).toBe('stun-unauthenticated');
    expect(sent).toHaveLength(1);
  });

  test.each([401, 438])(
    'are not weakened to MD5 by a later challenge with code %i that lists MD5 alone',
    async (code) => {
      const { transactions, sent, answer, clock } = bench();
      const pending = requestWithAuth(transactions, auth(), SERVER, binding).catch(errorCode);
      const challenge = (status: number, ...algorithms: number[]) =>
        answer(MessageClass.Error, (writer) =>
          writer
            .add(attr.errorCode, { code: status, reason: '' })
            .add(attr.realm, 'r')
            .add(attr.nonce, 'obMatJos2AAABx')
            .add(
              attr.passwordAlgorithms,
              algorithms.map((algorithm) => ({ algorithm, parameters: new Uint8Array(0) })),
            ),
        );
      challenge(401, PasswordAlgorithm.Md5, PasswordAlgorithm.Sha256);
      await clock.advance(0);
      expect(sent.at(-1)!.message.has(attr.messageIntegritySha256)).toBe(true);
      challenge(code, PasswordAlgorithm.Md5);
      await clock.advance(0);
      expect(await pending).toMatch(/^stun-(unauthenticated|refused)$/);
      expect(sent).toHaveLength(2);
    },
  );

  test.each([401, 438])('are not weakened to MD5 by a later challenge with code %i', async (code) => {
    const { transactions, sent, answer, clock } = bench();
    const credentials = auth();
    const pending = requestWithAuth(transactions, credentials, SERVER, binding).catch(errorCode);
    const sha256 = [{ algorithm: PasswordAlgorithm.Sha256, parameters: new Uint8Array(0) }];
    answer(MessageClass.Error, (writer) =>
      writer
        .add(attr.errorCode, { code: 401, reason: '' })
        .add(attr.realm, 'r')
        .add(attr.nonce, `obMatJos2${Buffer.from([0, 0, 1]).toString('base64')}x`)
        .add(attr.passwordAlgorithms, sha256),
    );
    await clock.advance(0);
    answer(MessageClass.Error, (writer) =>
      writer.add(attr.errorCode, { code, reason: '' }).add(attr.realm, 'other').add(attr.nonce, 'old style'),
    );
    await clock.advance(0);
    expect(await pending).toMatch(/^stun-(unauthenticated|refused)$/);
    expect(sent).toHaveLength(2);
    expect(credentials.integrity).toBe('sha256');
  });

  test.each([
    ['a 400 that is not signed', 400, 'old style'],
    ['an error that announces algorithms and lists none', 500, 'obMatJos2AAABx'],
  ])('ignore %s, and wait on (RFC 8489 §9.2.5)', async (_what, code, nonce) => {
    const { transactions, sent, answer, clock } = bench();
    const pending = requestWithAuth(transactions, auth(), SERVER, binding);
    answer(MessageClass.Error, (writer) =>
      writer.add(attr.errorCode, { code: 401, reason: '' }).add(attr.realm, 'r').add(attr.nonce, 'old style'),
    );
    await clock.advance(0);
    answer(MessageClass.Error, (writer) => writer.add(attr.errorCode, { code, reason: '' }).add(attr.nonce, nonce));
    await clock.advance(500);
    expect([transactions.size, sent.length]).toEqual([1, 3]);
    answer(MessageClass.Success, (writer) => withAddress(writer).integrity(longTermKey('me', 'r', 'pw')));
    expect((await pending).message.class).toBe(MessageClass.Success);
  });

  test('take the list and the nonce of a 438', async () => {
    const { transactions, sent, answer, clock } = bench();
    const pending = requestWithAuth(transactions, auth(), SERVER, binding).catch(errorCode);
    const challenge = (code: number, ...algorithms: number[]) =>
      answer(MessageClass.Error, (writer) =>
        writer
          .add(attr.errorCode, { code, reason: '' })
          .add(attr.realm, 'r')
          .add(attr.nonce, `obMatJos2AAAB${code}`)
          .add(
            attr.passwordAlgorithms,
            algorithms.map((algorithm) => ({ algorithm, parameters: new Uint8Array(0) })),
          ),
      );
    challenge(401, PasswordAlgorithm.Md5);
    await clock.advance(0);
    challenge(438, PasswordAlgorithm.Sha256, PasswordAlgorithm.Md5);
    await clock.advance(0);
    const { message } = sent.at(-1)!;
    expect(message.get(attr.nonce)).toBe('obMatJos2AAAB438');
    expect(message.get(attr.passwordAlgorithms)).toHaveLength(2);
    expect(message.checkIntegrity(longTermKey('me', 'r', 'pw', PasswordAlgorithm.Sha256))).toBe('valid');
    transactions.close();
    expect(await pending).toBe('stun-closed');
  });

  test('give up when the server refuses the password, and when it challenges for ever', async () => {
    for (const realms of [
      ['r', 'r'],
      ['a', 'b', 'c', 'd', 'e'],
    ]) {
      const { transactions, answer, clock, sent } = bench();
      const pending = requestWithAuth(transactions, auth(), SERVER, binding).catch(errorCode);
      for (const realm of realms) {
        if (transactions.size === 0) break;
        answer(MessageClass.Error, (writer) =>
          writer.add(attr.errorCode, { code: 401, reason: '' }).add(attr.realm, realm).add(attr.nonce, 'n'),
        );
        await clock.advance(0);
      }
      expect(await pending).toBe('stun-unauthenticated');
      expect(sent.length).toBeLessThanOrEqual(4);
    }
  });

  test('several requests at once are all challenged and all succeed', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const host = at.internet.host();
    const { clock, random } = at;
    const client = await clock.runUntil(
      StunClient.open(
        { network: host.network, clock, random },
        {
          server: server.locals[0]!,
          credentials: { kind: 'long-term', username: 'alice', password: 'wonderland' },
        },
      ),
    );
    const refresh = () =>
      client.request({ method: Method.Refresh }).catch((error: { response: { code: number } }) => error.response.code);
    expect(await clock.runUntil(Promise.all([refresh(), refresh(), refresh()]))).toEqual([437, 437, 437]);
    await client.close();
    await server.close();
  });
});

describe('the STUN client', () => {
  test.each(['udp', 'tcp', 'tls'] as const)('learns its address over %s', async (transport) => {
    const at = world();
    const { clock, random, internet } = at;
    const host = internet.host();
    const server = await TurnServer.listen(
      { network: host.network, clock, random },
      {
        listeners: [{ transport, address: host.address, tls: { cert: '', key: '' } }],
        relay: [{ address: host.address }],
        credentials: {},
      },
    );
    const laptop = internet.nat().host();
    const client = await clock.runUntil(
      StunClient.open(
        { network: laptop.network, clock, random },
        {
          server: server.locals[0]!,
          transport,
          tls: { insecure: true },
        },
      ),
    );
    const result = await clock.runUntil(client.binding());
    expect(result.mapped.address).not.toBe(laptop.address);
    expect(result.from).toEqual(server.locals[0]);
    expect(result.rttMs).toBeGreaterThan(0);
    await clock.runUntil(client.close());
    await server.close();
    await clock.advance(10_000);
    expect(internet.openSockets).toBe(0);
  });

  test('fails at once when the TCP connection ends', async () => {
    const at = world();
    const { clock, random, internet } = at;
    const host = internet.host();
    const listener = await host.network.listenTcp({
      address: host.address,
      port: 3478,
      onConnection: (connection) => ({ onData: () => connection.destroy() }),
    });
    const client = await clock.runUntil(
      StunClient.open(
        { network: internet.host().network, clock, random },
        { server: listener.local, transport: 'tcp' },
      ),
    );
    expect(await clock.runUntil(client.binding().catch(errorCode))).toBe('stun-closed');
    expect(clock.now()).toBeLessThan(1_000);
    await client.close();
    await listener.close();
  });

  test('signs with short-term credentials', async () => {
    const at = world();
    const { clock, random, internet } = at;
    const host = internet.host();
    const key = shortTermKey('shared');
    const server = await host.network.bindUdp({
      address: host.address,
      port: 3478,
      onMessage(data, from) {
        const message = decoded(data);
        if (message.checkIntegrity(key) !== 'valid' || message.get(attr.username) !== 'them:us') return;
        server.send(
          new StunWriter(MessageClass.Success, Method.Binding, message.transactionId)
            .add(attr.xorMappedAddress, from)
            .integrity(key)
            .finish(),
          from,
        );
      },
    });
    const client = await clock.runUntil(
      StunClient.open(
        { network: internet.host().network, clock, random },
        {
          server: server.local,
          credentials: { kind: 'short-term', username: 'them:us', password: 'shared' },
        },
      ),
    );
    expect((await clock.runUntil(client.binding())).mapped.port).toBe(client.local.port);
    await client.close();
    await server.close();
  });

  test('turns error answers into errors that say what was refused', async () => {
    const { transactions, answer } = bench();
    const pending = transactions.request(SERVER, binding);
    answer(MessageClass.Error, (writer) => writer.add(attr.errorCode, { code: 500, reason: 'Server Error' }));
    const response = await pending;
    expect(() => successOf(response, SERVER)).toThrow('192.0.2.1:3478 refused: 500 Server Error.');
  });

  test('works against our server on the real network', async () => {
    const components = { network: new NodeNetwork(), clock: new SystemClock(), random: new SystemRandom() };
    await using server = await StunServer.listen(components, { address: '127.0.0.1', port: 0 });
    await using client = await StunClient.open(components, { server: server.local, localAddress: '127.0.0.1' });
    expect((await client.binding()).mapped).toEqual(client.local);
  });
});
