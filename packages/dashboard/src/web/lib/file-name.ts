/** Longest name that every usual file system takes, with room for a browser's ` (1)`. */
const MAX_NAME_CHARS = 120;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is replaced
const FORBIDDEN = /[\u0000-\u001f\u007f-\u009f<>:"/\\|?*\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\p{Cs}]/gu;
const RESERVED = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;

/**
 * Makes a safe file name of a text that came from a device: no folders, no control or direction characters, no leading
 * dots, no name that Windows reserves.
 */
export function safeFileName(text: string, fallback = 'download'): string {
  const cleaned = text
    .replace(FORBIDDEN, '_')
    .replace(/^[.\s]+|[.\s]+$/g, '')
    .slice(-MAX_NAME_CHARS);
  if (cleaned === '' || /^_+$/.test(cleaned)) return fallback;
  return RESERVED.test(cleaned) ? `_${cleaned}` : cleaned;
}
