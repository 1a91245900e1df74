import { type Agent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { errorCode, errorMessage } from '@towpath/core';
import { ControlError } from '../control-error.ts';

/** The largest answer: a page of a log, with room. */
const MAX_ANSWER_BYTES = 8_388_608;

/** One HTTP request. `fetch` supports neither a certificate authority nor a limit of the response size. */
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
    let isAnswered = false;
    const onAnswer = (answer: IncomingMessage) => {
      isAnswered = true;
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
    // Not asked for: told by its status, as any other answer that no control server gives.
    request.on('upgrade', (answer, socket) => {
      isAnswered = true;
      socket.destroy();
      resolve({ status: answer.statusCode ?? 0, body: new Uint8Array(0) });
    });
    // Whatever else ends it without an answer.
    request.on('close', () => {
      if (!isAnswered) fail(new Error('the connection ended before the answer'));
    });
    request.end(body);
  });
}

/** Certificates that no known authority has signed; Node's own advice is for Node's command line. */
const UNTRUSTED: ReadonlySet<string> = new Set([
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
]);

/** Certificates that a known authority has signed, but not for this server, or not for this time. */
const MISPLACED: ReadonlyMap<string, readonly [wrong: string, next: string]> = new Map([
  ['ERR_TLS_CERT_ALTNAME_INVALID', ['is for another name', 'use a name that is in the certificate']],
  ['CERT_HAS_EXPIRED', ['has expired', 'renew it on the server, or correct the clock of this machine']],
  ['CERT_NOT_YET_VALID', ['is not valid yet', 'correct the clock of this machine or of the server']],
]);

/** One code for every failure to reach a server, so that another one is tried. */
export function unreachable(url: URL, cause: unknown): ControlError {
  const code = errorCode(cause);
  const certificate = `The certificate of the control server ${url.host}`;
  const misplaced = MISPLACED.get(code);
  const message = UNTRUSTED.has(code)
    ? `${certificate} is not trusted (${code}). Next: give its certificate authority: --ca FILE`
    : misplaced !== undefined
      ? `${certificate} ${misplaced[0]}. Next: ${misplaced[1]}.`
      : `The control server ${url.host} cannot be reached: ${errorMessage(cause)}. Next: check the address, and that the server runs.`;
  return new ControlError('server-unavailable', message, { target: url.host, cause });
}
