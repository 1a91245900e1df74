/** Width and height of a glyph in its own pixels. */
export const GLYPH_WIDTH = 5;
export const GLYPH_HEIGHT = 7;

// Seven rows of five bits per glyph, one base-32 digit per row (0–9, a–v), top row first; bit 4 is the left column.
const GLYPHS: Readonly<Record<string, string>> = {
  ' ': '0000000',
  '0': 'ehjlphe',
  '1': '4c4444e',
  '2': 'eh1248v',
  '3': 'v2421he',
  '4': '26aiv22',
  '5': 'vgu11he',
  '6': '68guhhe',
  '7': 'v124888',
  '8': 'ehhehhe',
  '9': 'ehhf12c',
  A: 'ehhvhhh',
  B: 'uhhuhhu',
  C: 'ehggghe',
  D: 'sihhhis',
  E: 'vgguggv',
  F: 'vgguggg',
  G: 'ehgnhhf',
  H: 'hhhvhhh',
  I: 'e44444e',
  J: '72222ic',
  K: 'hikokih',
  L: 'ggggggv',
  M: 'hrllhhh',
  N: 'hhpljhh',
  O: 'ehhhhhe',
  P: 'uhhuggg',
  Q: 'ehhhlid',
  R: 'uhhukih',
  S: 'fgge11u',
  T: 'v444444',
  U: 'hhhhhhe',
  V: 'hhhhha4',
  W: 'hhhlrrh',
  X: 'hha4ahh',
  Y: 'hhha444',
  Z: 'v1248gv',
  '-': '000v000',
  '/': '01248g0',
  ':': '0cc0cc0',
  '.': '00000cc',
  ',': '0000c48',
  '%': 'op248j3',
  '#': 'aavavaa',
  '°': 'ciic000',
  '+': '044v440',
};

/** True when the pixel (`column`, `row`) of a character is set; lower case is drawn as capitals, unknown characters as `-`. */
export function glyphPixel(character: string, column: number, row: number): boolean {
  const rows = GLYPHS[character.toUpperCase()] ?? GLYPHS['-']!;
  return ((Number.parseInt(rows[row]!, 32) >> (GLYPH_WIDTH - 1 - column)) & 1) === 1;
}
