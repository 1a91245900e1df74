import { styleText } from 'node:util';

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

/**
 * Characters that control a terminal instead of being printed: C0 (without tab and line feed), DEL, C1, the line
 * and paragraph separators, bidirectional marks and overrides, zero-width characters, tag characters, lone surrogates.
 */
const UNPRINTABLE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the expression matches control characters
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\u{e0000}-\u{e007f}\p{Cs}]/gu;

/**
 * Escapes control characters as JSON does (`\u001b`). Line feeds stay, because the caller writes them.
 */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) => {
    let escaped = '';
    for (let at = 0; at < character.length; at++) {
      escaped += `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`;
    }
    return escaped;
  });
}

/** As {@link printable}, for text of a device, server or member inside a line: line feeds are escaped too. */
export function oneLine(text: string): string {
  return printable(text).replaceAll('\n', '\\n');
}

/**
 * Text with styles. Styles are marked with a nonce until they are rendered, so that escape sequences in a device's text
 * are not taken for styles.
 */
export class TerminalText {
  readonly #colours: boolean;
  readonly #marker: string;

  /** @param nonce unpredictable text, so that no input contains the marker */
  constructor(colours: boolean, nonce: string) {
    this.#colours = colours;
    this.#marker = `\u001b<${nonce}>`;
  }

  /** Styles text if the terminal shows colours. */
  style(style: Style, text: string): string {
    if (!this.#colours) return text;
    // Nested parts are marked already.
    const [before = '', after = ''] = styleText(style, '\0', { validateStream: false }).split('\0');
    return `${this.#mark(before)}${text}${this.#mark(after)}`;
  }

  /** Returns the text as it is written to the terminal. */
  render(text: string): string {
    return text
      .split(this.#marker)
      .map((part, index) => (index === 0 ? printable(part) : renderMarked(part)))
      .join('');
  }

  #mark(sequence: string): string {
    return `${this.#marker}${sequence.slice(1)}`;
  }
}

/** Renders a part after a marker; it begins with a style sequence without its ESC. */
function renderMarked(part: string): string {
  const sequence = /^\[[0-9;]*m/.exec(part)?.[0] ?? '';
  return `${sequence === '' ? '' : '\u001b'}${sequence}${printable(part.slice(sequence.length))}`;
}
