import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { oneLine, printable, TerminalText } from '../src/cli/terminal-text.ts';

const ESC = '\u001b';
const OBEYED = [
  `${ESC}[2J`,
  `${ESC}]52;c;Y3VybCBldmls\u0007`,
  `${ESC}]0;title${ESC}\\`,
  '\r',
  '\b\b\b',
  '\u009b31m',
  '\u202e',
  '\u2066',
  '\u200b',
  '\u2028',
  '\u{e0041}',
  '\ud800',
  '\u007f',
];

describe('text on a terminal', () => {
  test.each(OBEYED)('%j is escaped', (hostile) => {
    const shown = new TerminalText(true, 'n').render(`camera ${hostile} end`);
    expect(shown).toMatch(/^camera [\x20-\x7e]+ end$/);
    expect(JSON.parse(`"${printable(hostile).replaceAll(/\\(?!u)/g, '\\\\')}"`)).toBe(hostile);
  });

  test('a line of JSON stays the same value', () => {
    const value = { name: OBEYED.join('|') };
    expect(JSON.parse(printable(JSON.stringify(value)))).toEqual(value);
  });

  test('own styles are rendered, those in the text are escaped', () => {
    const text = new TerminalText(true, 'nonce');
    const styled = text.style('red', `${ESC}[2J${text.style('bold', 'camera')}`);
    expect(text.render(styled)).toBe(`${ESC}[31m\\u001b[2J${ESC}[1mcamera${ESC}[22m${ESC}[39m`);
  });

  test('without colours only the input is escaped', () => {
    const text = new TerminalText(false, 'nonce');
    expect(text.render(text.style('red', 'Füße 🦌 日本'))).toBe('Füße 🦌 日本');
  });

  test('a guessed marker lets only a style pass', () => {
    const text = new TerminalText(true, 'guessed');
    expect(text.render(`${ESC}<guessed>]52;c;x`)).toBe(']52;c;x');
    expect(text.render(`${ESC}<guessed>[2J`)).toBe('[2J');
  });

  test('no control character reaches the terminal, except in styles', () => {
    const text = new TerminalText(true, 'nonce');
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (input) => {
        const rendered = text.render(input);
        expect(rendered.replaceAll(/[\n\t]/g, '')).not.toMatch(/[\p{Cc}\p{Bidi_Control}\p{Cs}]/u);
      }),
    );
  });

  test('text inside a line stays on its line', () => {
    expect(oneLine('a\nb\r\n')).toBe('a\\nb\\u000d\\n');
  });
});
