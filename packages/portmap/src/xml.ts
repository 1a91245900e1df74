import { XMLParser } from 'fast-xml-parser';

/** An element: its name without prefix, its own text, its children in order. */
export interface XmlElement {
  readonly name: string;
  readonly text: string;
  readonly children: readonly XmlElement[];
}

/** Descriptions of gateways have some hundred elements, nested a dozen deep. */
const MAX_NESTING = 40;
const MAX_ELEMENTS = 5_000;
const TEXT = '#text';

/**
 * Parses a document as gateways send it, with namespaces, CDATA, comments and a byte order mark; entities that the document
 * declares are not expanded. Does not throw.
 * @returns the top elements; empty when the text is not XML
 */
export function parseXml(text: string): readonly XmlElement[] {
  const parser = new XMLParser({
    preserveOrder: true,
    ignoreAttributes: true,
    ignoreDeclaration: true,
    ignorePiTags: true,
    removeNSPrefix: true,
    parseTagValue: false,
    processEntities: { enabled: true, maxEntityCount: 0 },
    maxNestedTags: MAX_NESTING,
  });
  try {
    const budget = { left: MAX_ELEMENTS };
    return elements(parser.parse(text.replace(/^\ufeff/, '').trim()), budget);
  } catch {
    return [];
  }
}

/** Returns every element of that name within the given ones, in document order. */
export function findElements(within: readonly XmlElement[], name: string): XmlElement[] {
  return within.flatMap((one) => [...(one.name === name ? [one] : []), ...findElements(one.children, name)]);
}

/** Returns the text of the first element of that name; undefined when there is none or it is empty. */
export function elementText(within: readonly XmlElement[], name: string): string | undefined {
  const text = findElements(within, name)[0]?.text;
  return text === '' ? undefined : text;
}

/** Converts the parser's output (`preserveOrder`): one object per node, with the element's name as its only key. */
function elements(nodes: unknown, budget: { left: number }): XmlElement[] {
  const found: XmlElement[] = [];
  for (const node of Array.isArray(nodes) ? nodes : []) {
    const [name, inner] = Object.entries(Object(node))[0] ?? [];
    if (name === undefined || name === TEXT || --budget.left < 0) continue;
    found.push({ name, text: textOf(inner), children: elements(inner, budget) });
  }
  return found;
}

function textOf(nodes: unknown): string {
  const pieces = (Array.isArray(nodes) ? nodes : []).map((node) => Object(node)[TEXT]);
  return pieces
    .filter((piece) => typeof piece === 'string')
    .join('')
    .trim();
}
