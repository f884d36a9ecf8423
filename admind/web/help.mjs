// Help: help/*.md into pages with a side that lists them all. The order and the titles are those of `order`; a link or a
// picture that leads nowhere fails the build.
import { Marked } from 'marked';
import { readFile, readdir } from 'node:fs/promises';
import path from 'node:path';

/** Name of the Markdown file → what the side calls it. `index` is /help itself. */
const order = {
  index: 'Start here',
  profile: 'Profile & API keys',
  models: 'Models',
  connect: 'Connect your tools',
  api: 'Using the API',
};

const escapeHtml = (text) => text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]);
const addressOf = (name) => (name === 'index' ? '/help' : `/help/${name}`);

/** Words of a heading → an id that links can name. */
const slug = (text) => text.toLowerCase().replace(/<[^>]*>/g, '').replace(/&[a-z]+;/g, '').replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '');

function renderer(name, pictures) {
  return {
    heading({ tokens, depth }) {
      const text = this.parser.parseInline(tokens);
      const id = slug(text);
      if (depth === 1) return `<h1>${text}</h1>\n`;
      return `<h${depth} id="${id}">${text} <a class="anchor" href="#${id}" aria-label="Link to ${escapeHtml(text.replace(/<[^>]*>/g, ''))}">#</a></h${depth}>\n`;
    },
    link({ href, tokens }) {
      const text = this.parser.parseInline(tokens);
      const [file, fragment] = href.split('#');
      if (/^(https:|mailto:|\/)/.test(href) || file === '') return `<a href="${escapeHtml(href)}">${text}</a>`;
      const target = file.replace(/\.md$/, '');
      if (!(target in order)) throw new Error(`help/${name}.md links to ${href}, which is no page of help`);
      return `<a href="${addressOf(target)}${fragment ? `#${fragment}` : ''}">${text}</a>`;
    },
    image({ href, text }) {
      const source = pictures[path.basename(href)];
      // The screenshots are made with the pages themselves; before the first time there are none.
      return source ? `<img src="${source}" alt="${escapeHtml(text)}" loading="lazy">` : '';
    },
    table(token) {
      const cell = (tag, part) => `<${tag}>${this.parser.parseInline(part.tokens)}</${tag}>`;
      const row = (tag, cells) => `<tr>${cells.map((part) => cell(tag, part)).join('')}</tr>`;
      return `<div class="scroll" tabindex="0" role="group" aria-label="Table: ${escapeHtml(token.header[0].text)}"><table><thead>${row('th', token.header)}</thead>` +
        `<tbody>${token.rows.map((cells) => row('td', cells)).join('\n')}</tbody></table></div>\n`;
    },
  };
}

function side(current) {
  const links = Object.entries(order)
    .map(([name, title]) => `<li><a href="${addressOf(name)}"${name === current ? ' aria-current="page"' : ''}>${escapeHtml(title)}</a></li>`);
  return `<nav class="side" aria-label="Help"><ul>${links.join('\n')}</ul><p id="about" class="muted"></p></nav>`;
}

export async function helpPages(folder, pictures) {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.md')).map((file) => path.parse(file).name);
  const strays = files.filter((name) => !(name in order)).concat(Object.keys(order).filter((name) => !files.includes(name)));
  if (strays.length > 0) throw new Error(`help: ${strays.join(', ')}: a page without a place in the side, or a place without a page`);
  return Promise.all(files.map(async (name) => {
    const markdown = await readFile(path.join(folder, `${name}.md`), 'utf8');
    const title = /^# (.+)$/m.exec(markdown)[1];
    const article = await new Marked({ renderer: renderer(name, pictures) }).parse(markdown);
    return { name, title: escapeHtml(title), main: `${side(name)}\n<article class="markdown">\n${article}</article>` };
  }));
}
