// Markup that the server made (announcement, notices, READMEs) into nodes of the page. No parser of the browser's sees it, as
// even a document that is never shown takes note of handlers and pictures: it is read here, word by word, and what is on
// the list is built anew (B17, B18, B23, B25).

/** Element → the element it becomes. A README's first heading is not the page's. */
const elements: Record<string, string> = {
  p: 'p', br: 'br', b: 'b', strong: 'strong', i: 'i', em: 'em', del: 'del', code: 'code', pre: 'pre', blockquote: 'blockquote', hr: 'hr',
  ul: 'ul', ol: 'ol', li: 'li', a: 'a', h1: 'h3', h2: 'h3', h3: 'h4', h4: 'h5', h5: 'h6', h6: 'h6',
  table: 'table', thead: 'thead', tbody: 'tbody', tr: 'tr', th: 'th', td: 'td',
};
const withoutContent = new Set(['br', 'hr']);
/** One of them ends where the next begins. */
const neverNested = new Set(['p', 'li', 'a']);
/** Not even their text is ours to show. */
const silent = new Set(['script', 'style', 'template', 'iframe', 'object', 'svg', 'math', 'title']);
const deepest = 64;

/** A comment, a tag (slash, name, attributes), text, or a stray "<". */
const words = /<!--[\s\S]*?-->|<(\/?)([a-z][a-z0-9]*)((?:"[^"]*"|'[^']*'|[^'">])*)>|[^<]+|</gi;
const entities: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0' };

function plain(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]{2,6}));/gi, (written, decimal?: string, hex?: string, name?: string) => {
    if (name) return entities[name.toLowerCase()] ?? written;
    const code = decimal ? Number(decimal) : Number.parseInt(hex ?? '', 16);
    return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : written;
  });
}

export function safeUrl(text: string | null): string | null {
  return text !== null && /^(https?:\/\/|mailto:|\/(?![/\\]))/i.test(text.trim()) ? text.trim() : null;
}

function hrefOf(attributes: string): string | null {
  const found = /(?:^|\s)href\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))/i.exec(attributes);
  return safeUrl(found ? plain(found[1] ?? found[2] ?? found[3] ?? '') : null);
}

function make(name: string, attributes: string): HTMLElement {
  const element = document.createElement(elements[name] ?? 'span');
  const href = name === 'a' ? hrefOf(attributes) : null;
  if (href) {
    element.setAttribute('href', href);
    element.setAttribute('rel', 'noreferrer');
  }
  return element;
}

/** A wide table scrolls by itself, and by keys. */
function scrolling(table: HTMLElement): HTMLElement {
  const box = document.createElement('div');
  box.className = 'scroll';
  box.tabIndex = 0;
  box.setAttribute('role', 'group');
  box.setAttribute('aria-label', 'Table');
  box.appendChild(table);
  return box;
}

/** The nodes that `html` may become. */
export function nodesOf(html: string): DocumentFragment {
  const fragment = document.createDocumentFragment();
  const open: { name: string; element: HTMLElement }[] = [];
  let unheard = '';
  const inside = () => open.at(-1)?.element ?? fragment;
  const close = (name: string) => {
    const at = open.findLastIndex((one) => one.name === name);
    if (at >= 0) open.length = at;
  };
  for (const [word, slash, tag, attributes] of html.matchAll(words)) {
    const name = tag?.toLowerCase();
    if (unheard) {
      if (name === unheard && slash) unheard = '';
    } else if (name === undefined) {
      if (!word.startsWith('<!--')) inside().appendChild(document.createTextNode(plain(word)));
    } else if (silent.has(name)) {
      if (!slash) unheard = name;
    } else if (name in elements) {
      if (slash || neverNested.has(name)) close(name);
      if (slash || open.length === deepest) continue;
      const element = make(name, attributes ?? '');
      inside().appendChild(name === 'table' ? scrolling(element) : element);
      if (!withoutContent.has(name)) open.push({ name, element });
    }
  }
  return fragment;
}

/** Makes every mention of `address` in the text below `root` a link. */
export function linkAddress(root: Node, address: string, href: string): boolean {
  let found = false;
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const texts: Text[] = [];
  while (walker.nextNode()) texts.push(walker.currentNode as Text);
  for (const text of texts) {
    if (text.parentElement?.closest('a')) continue;
    const at = text.data.indexOf(address);
    if (at < 0) continue;
    const mention = text.splitText(at);
    mention.splitText(address.length);
    const link = document.createElement('a');
    link.href = href;
    mention.replaceWith(link);
    link.appendChild(mention);
    found = true;
  }
  return found;
}
