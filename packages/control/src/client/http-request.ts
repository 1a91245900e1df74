import { type Agent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { errorMessage } from '@towpath/core';
import { ControlError } from '../control-error.ts';

/** The largest answer: a page of a log, with room. */
const MAX_ANSWER_BYTES = 8_388_608;

/** One HTTP request, without cleverness: `fetch` can neither be given an authority nor a bounded answer. */
export function sendRequest(
  url: URL,
  options: {
    method: string;
    headers: Record<string, string>;
    body: Uint8Array;
    agent: Agent;
    ca?: string | undefined;
    signal: AbortSignal;
  },
): Promise<{ status: number; body: Uint8Array }> {
  const { method, headers, body, agent, ca, signal } = options;
  return new Promise((resolve, reject) => {
    const fail = (error: unknown) => reject(signal.aborted ? signal.reason : unreachable(url, error));
    const target: RequestOptions = { method, headers, agent, signal, ...(ca === undefined ? {} : { ca }) };
    const onAnswer = (answer: IncomingMessage) => {
      const parts: Buffer[] = [];
      let size = 0;
      answer.on('data', (part: Buffer) => {
        size += part.length;
        parts.push(part);
        if (size > MAX_ANSWER_BYTES) answer.destroy(new Error('the answer is too large'));
      });
      answer.on('error', fail);
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(parts) }));
    };
    const request =
      url.protocol === 'https:' ? httpsRequest(url, target, onAnswer) : httpRequest(url, target, onAnswer);
    request.on('error', fail);
    request.end(body);
  });
}

/** What cannot be reached is said in one way, so that another server is tried. */
export function unreachable(url: URL, cause: unknown): ControlError {
  const message = `The control server ${url.host} cannot be reached: ${errorMessage(cause)}`;
  return new ControlError('server-unavailable', message, { target: url.host, cause });
}
