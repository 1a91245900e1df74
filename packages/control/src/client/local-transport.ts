import type { Clock } from '@towpath/core';
import { ControlError } from '../control-error.ts';
import type { TurnCredentials } from '../control-plane.ts';
import type { PartyId } from '@towpath/membership';
import type { SealedInvite } from '../server/invite-codes.ts';
import type { ControlService } from '../server/service.ts';
import { parseServerMessage, type PresenceEntry } from '../wire/messages.ts';
import type { ControlTransport, LiveConnection, RequestOptions } from './transport.ts';

/** Transport to a service in the same process. */
export class LocalTransport implements ControlTransport {
  readonly servers: readonly string[] = [];
  readonly #clock: Clock;
  readonly #service: ControlService;

  constructor(components: { clock: Clock; service: ControlService }) {
    this.#clock = components.clock;
    this.#service = components.service;
  }

  serverTime(): number {
    return this.#clock.wallTime();
  }

  async connect({ key, onMessage }: Parameters<ControlTransport['connect']>[0]): Promise<LiveConnection> {
    const service = this.#service;
    const closed = Promise.withResolvers<ControlError>();
    const end = (why: string) => {
      service.detach(session);
      closed.resolve(new ControlError('server-unavailable', `The control server closed the connection: ${why}.`));
    };
    const address = 'this process';
    const session = service.attach(key.publicKey, address, {
      send: (text) => {
        const message = parseServerMessage(text);
        // Asynchronous, as over a network: not during a call into the service.
        if (message !== undefined) queueMicrotask(() => onMessage(message, address));
        return true;
      },
      drained: async () => {},
      close: (reason) => queueMicrotask(() => end(reason)),
    });
    return {
      address,
      closed: closed.promise,
      send: (message) => {
        service.receive(session, message).then(
          (kept) => kept || end('too many messages'),
          (error: unknown) => end(String(error)),
        );
      },
      close: async () => end('closed by this node'),
    };
  }

  readLog(
    party: PartyId,
    from: number,
    { key }: RequestOptions,
  ): Promise<{ length: number; statements: readonly Uint8Array[] }> {
    return this.#service.read(party, from, key.publicKey);
  }

  async readPresence(party: PartyId, { key }: RequestOptions): Promise<readonly PresenceEntry[]> {
    return (await this.#service.describe(party, key.publicKey)).presence;
  }

  async append(
    party: PartyId,
    sequence: number,
    statement: Uint8Array,
    { key, setupProof }: RequestOptions,
  ): Promise<{ ok: true } | { ok: false; statements: readonly Uint8Array[] }> {
    const service = this.#service;
    const by = key.publicKey;
    const outcome = await (sequence === 0
      ? service.create(statement, by, setupProof)
      : service.append(party, statement, by));
    return outcome.ok ? { ok: true } : { ok: false, statements: outcome.statements };
  }

  keepInvite(party: PartyId, invite: SealedInvite, { key }: RequestOptions): Promise<void> {
    return this.#service.keepInvite(party, invite, key.publicKey);
  }

  findInvite(lookup: string): Promise<Uint8Array> {
    return this.#service.findInvite(lookup);
  }

  turnCredentials(party: PartyId, { key }: RequestOptions): Promise<TurnCredentials> {
    return this.#service.turnCredentials(party, key.publicKey);
  }

  async close(): Promise<void> {}
}
