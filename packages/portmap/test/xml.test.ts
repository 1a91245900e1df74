import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readArgument, readDescription, readFault } from '../src/upnp.ts';
import { findElements, parseXml, type XmlElement } from '../src/xml.ts';

interface Tree {
  name: string;
  text: string;
  children: Tree[];
}

const name = fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_.-]{0,11}$/).filter((text) => text !== '__proto__');
/** No space at the ends: it is cut off. */
const text = fc.string({ maxLength: 20 }).map((chars) => chars.replace(/[^\x21-\x7e]/g, 'x'));
/** Of at most four levels. */
const tree = [1, 2, 3].reduce<fc.Arbitrary<Tree>>(
  (inner) => fc.record({ name, text, children: fc.array(inner, { maxLength: 3 }) }),
  fc.record({ name, text, children: fc.constant([]) }),
);

/** How an element is written; `style` decides between forms that mean the same. */
function write({ name: tag, text: inner, children }: Tree, style: () => number): string {
  const prefix = ['', 's:', 'u-x:'][style() % 3]!;
  const escaped = inner.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
  const data = style() % 2 === 0 || inner.includes(']]>') ? escaped : `<![CDATA[${inner}]]>`;
  const noise = ['', '<!-- <service> -->', '\n  '][style() % 3]!;
  const attribute = ['', ' xmlns:s="urn:x"', " a='1'"][style() % 3]!;
  const body = children.map((child) => write(child, style)).join(noise);
  return `<${prefix}${tag}${attribute}${style() % 2 ? ' ' : ''}>${data}${body}</${prefix}${tag}>`;
}

const plain = ({ name: tag, text: inner, children }: XmlElement | Tree): Tree => ({
  name: tag,
  text: inner,
  children: children.map(plain),
});

describe('XML of gateways', () => {
  test('comes out as it was written, in whatever form', () => {
    fc.assert(
      fc.property(
        tree,
        fc.infiniteStream(fc.nat(5)),
        fc.constantFrom('', '\ufeff', '<?xml version="1.0"?>\n'),
        (one, styles, head) => {
          const style = () => styles.next().value as number;
          expect(parseXml(head + write(one, style)).map(plain)).toEqual([plain(one)]);
        },
      ),
      { numRuns: 300 },
    );
  });

  test('that was cut off or altered throws nothing and stays bounded', () => {
    fc.assert(
      fc.property(
        tree,
        fc.infiniteStream(fc.nat(5)),
        fc.nat(),
        fc.string({ maxLength: 6 }),
        fc.boolean(),
        (one, styles, at, piece, cut) => {
          const whole = write(one, () => styles.next().value as number);
          const where = at % (whole.length + 1);
          const altered = whole.slice(0, where) + piece + (cut ? '' : whole.slice(where));
          const found = parseXml(altered);
          expect(countOf(found)).toBeLessThanOrEqual(5_000);
          readFault(altered);
          readArgument(altered, 'NewExternalIPAddress');
          for (const { endpoint } of readDescription(altered, 'http://192.168.1.1:5000/x.xml')) {
            expect(endpoint.address).not.toBe('');
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  test('of markup characters alone throws nothing', () => {
    const pieces = fc.constantFrom(
      '<',
      '>',
      '/',
      '!',
      '?',
      '--',
      '[CDATA[',
      ']]>',
      '&',
      ';',
      '"',
      "'",
      '=',
      'a',
      ' ',
      '<!DOCTYPE',
      '<!ENTITY',
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 60 }), (parts) => {
        expect(countOf(parseXml(parts.join('')))).toBeLessThanOrEqual(5_000);
      }),
      { numRuns: 1_000 },
    );
  });

  test.each([
    [
      'entities that multiply',
      `<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa">${'bcdefgh'
        .split('')
        .map((one, at) => `<!ENTITY ${one} "${`&${'abcdefg'[at]};`.repeat(10)}">`)
        .join('')}]><r>&h;</r>`,
    ],
    ['an entity that reads a file', '<!DOCTYPE r [<!ENTITY f SYSTEM "file:///etc/hostname">]><r>&f;</r>'],
    ['elements nested without end', '<a>'.repeat(100_000)],
    ['more elements than a router has', `<r>${'<a></a>'.repeat(50_000)}</r>`],
    ['names of object members', '<__proto__><constructor>x</constructor></__proto__>'],
    ['a comment that does not end', '<r><!-- '.repeat(10_000)],
    ['attributes without end', `<r ${'a="b" '.repeat(50_000)}>x</r>`],
  ])('with %s is bounded', (_what, document) => {
    const found = parseXml(document);
    expect(countOf(found)).toBeLessThanOrEqual(5_000);
    const all = JSON.stringify(found);
    expect(all.length).toBeLessThan(1_000_000);
    expect(all).not.toContain('aaaaaaaaaaaaaaaaaaaaa');
    expect(({} as { constructor?: unknown }).constructor).toBe(Object);
    expect(findElements(found, 'f')).toEqual([]);
  });
});

function countOf(elements: readonly XmlElement[]): number {
  return elements.reduce((sum, { children }) => sum + 1 + countOf(children), 0);
}
