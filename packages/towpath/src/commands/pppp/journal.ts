import { formatEndpoint } from '@towpath/net';
import { ResultCode } from '@towpath/pppp/codec';
import type { RelayServer, RendezvousEvents, RendezvousServer } from '@towpath/pppp/server';
import type { Runtime } from '../../cli/runtime.ts';
import { printJson } from '../../cli/json-output.ts';

/** Prints logins, requests and relayed sessions: dated lines on standard error, or JSON Lines on standard output. */
export class ServeJournal {
  readonly #runtime: Runtime;
  readonly #json: boolean;

  constructor(runtime: Runtime, { json = false }: { json?: boolean }) {
    this.#runtime = runtime;
    this.#json = json;
  }

  followRendezvous({ events }: RendezvousServer): void {
    events.on('online', (event) => this.#say('online', event, `${event.uid} at ${at(event.endpoint, event.over)}`));
    events.on('moved', (event) => {
      const from = formatEndpoint(event.from);
      this.#say('moved', event, `${event.uid} to ${at(event.endpoint, event.over)} from ${from}`);
    });
    events.on('offline', (event) => this.#say('offline', event, `${event.uid}: ${OFFLINE[event.reason]}`));
    events.on('contested', (event) => {
      const [stays, refused] = [formatEndpoint(event.endpoint), formatEndpoint(event.claimant)];
      const advice = 'Give each device a UID of its own, or the right one a secret (--secrets).';
      this.#say('contested', event, `${event.uid}: ${stays} stays, ${refused} claims it too and is refused. ${advice}`);
    });
    events.on('login-refused', (event) => {
      const { uid, endpoint, result } = event;
      this.#say('refused', event, `login of ${uid} from ${formatEndpoint(endpoint)}: ${meaning(result)}`);
    });
    events.on('asked', (event) => {
      const { uid, client, pathKind, result } = event;
      const kind = pathKind === 'relay' ? 'by a relay' : 'directly';
      this.#say('client', event, `${formatEndpoint(client)} asks for ${uid} ${kind}: ${meaning(result)}`);
    });
  }

  followRelay({ events }: RelayServer): void {
    events.on('session', (event) => {
      const [client, device] = [formatEndpoint(event.client), formatEndpoint(event.device)];
      this.#say('relayed', event, `${client} to ${event.uid} at ${device}`);
    });
    events.on('ended', (event) => {
      const { uid, bytes, durationMs } = event;
      this.#say('ended', event, `${uid}: ${bytes} bytes in ${(durationMs / 1_000).toFixed(0)} s`);
    });
  }

  #say(type: string, fields: object, text: string): void {
    const { io, clock } = this.#runtime;
    if (this.#json) printJson(io, type, { time: new Date(clock.wallTime()).toISOString(), ...fields });
    else io.err(`${io.style('dim', new Date(clock.wallTime()).toTimeString().slice(0, 8))} ${type.padEnd(9)} ${text}`);
  }
}

const OFFLINE: Readonly<Record<RendezvousEvents['offline']['reason'], string>> = {
  silent: 'no login for five minutes',
  disconnected: 'its connection is gone',
};

const MEANINGS: Readonly<Record<number, string>> = {
  [ResultCode.OK]: 'granted',
  [ResultCode.DEVICE_OFFLINE]: 'the device is not online',
  [ResultCode.WRONG_KEY]: 'wrong or missing secret',
  [ResultCode.PREFIX_NOT_SERVED]: 'this prefix is not served here',
};

function meaning(result: number): string {
  return MEANINGS[result] ?? `result ${result}`;
}

function at(endpoint: { address: string; port: number }, over: 'udp' | 'tcp'): string {
  return `${formatEndpoint(endpoint)} over ${over.toUpperCase()}`;
}
