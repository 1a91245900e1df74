const PROTOCOLS = { mqtt: ['mqtt:', 'mqtts:'], webhook: ['http:', 'https:'] } as const;

/** How the URL of each receiver begins, for messages. */
export const URL_BEGINNINGS = { mqtt: 'mqtt:// or mqtts://', webhook: 'http:// or https://' } as const;

/** What is wrong with the URL of a receiver: `password` when it contains one, which others could see. */
export function outputUrlFault(kind: keyof typeof PROTOCOLS, url: string): 'protocol' | 'password' | undefined {
  const parsed = URL.parse(url);
  if (parsed === null || !(PROTOCOLS[kind] as readonly string[]).includes(parsed.protocol)) return 'protocol';
  return parsed.password === '' && parsed.username === '' ? undefined : 'password';
}

/** Whether the URL of a broker has TLS. */
export function isOverTls(url: string): boolean {
  return URL.parse(url)?.protocol === 'mqtts:';
}
