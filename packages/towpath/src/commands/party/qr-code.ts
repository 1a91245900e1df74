import { encode } from 'uqr';

/** Background of the terminal: characters have the other colour. */
export type QrTerminal = 'dark' | 'light';

/** Light modules around the code, required by ISO/IEC 18004. */
const QUIET_ZONE = 4;

/** A QR code in lines of half blocks, two rows of modules in each. */
export function qrCode(text: string, terminal: QrTerminal): string[] {
  const { data, size } = encode(text, { ecc: 'L', border: QUIET_ZONE });
  // Characters are light on a dark terminal and dark on a light one.
  const written = (row: number, column: number) => (data[row]?.[column] ?? false) === (terminal === 'light');
  const lines: string[] = [];
  for (let row = 0; row < size; row += 2) {
    let line = '';
    for (let column = 0; column < size; column++) {
      const [above, below] = [written(row, column), written(row + 1, column)];
      line += above ? (below ? '█' : '▀') : below ? '▄' : ' ';
    }
    lines.push(line);
  }
  return lines;
}
