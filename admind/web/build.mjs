// Builds the pages into dist/: one bundle a page with a hashed name (served immutable), and its HTML (served no-store).
// Help and error pages are whole HTML, readable without a script (B15). What is text is gzipped beside itself.
import { build } from 'esbuild';
import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { helpPages } from './help.mjs';
import { document } from './document.mjs';
import { themeCss, themeFacts } from './themes.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const dist = path.join(here, 'dist');

/** Pages that a script fills: file → title. Their entry is src/NAME.tsx. */
const appPages = {
  profile: 'Profile',
  models: 'Models',
  model: 'Model',
  connect: 'Connect your tools',
  'sign-in': 'Sign in',
};

/** What a page asks for first, where that is always the same. */
const firstData = { profile: '/api/v1/me/profile' };

const errorPages = {
  403: ['Not for you', 'You are signed in, but this page is for others. If you think it should be yours, ask an administrator.'],
  404: ['Nothing here', 'There is no page at this address. It may have moved, or the address has a slip in it.'],
  500: ['Something went wrong', 'Lumen could not answer this time. Nothing was charged for it. Try again in a moment.'],
};

async function write(file, content) {
  const target = path.join(dist, file);
  await mkdir(path.dirname(target), { recursive: true });
  await writeFile(target, content);
  if (/\.(html|js|css|svg)$/.test(file)) await writeFile(`${target}.gz`, gzipSync(content, { level: 9 }));
}

async function writeHashed(name, extension, content) {
  const hash = createHash('sha256').update(content).digest('hex').slice(0, 10);
  const file = `assets/${name}.${hash}.${extension}`;
  await write(file, content);
  return `/${file}`;
}

async function bundle(name) {
  const { outputFiles } = await build({
    entryPoints: [path.join(here, `src/${name.replace('-', '_')}.tsx`)],
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    legalComments: 'none',
    define: { THEMES: JSON.stringify(themeFacts) },
    write: false,
  });
  return writeHashed(name, 'js', outputFiles[0].contents);
}

await rm(dist, { recursive: true, force: true });

// In the page itself: a file of its own would be one more request.
const icon = `data:image/svg+xml,${encodeURIComponent((await readFile(path.join(here, 'src/icon.svg'), 'utf8')).trim())}`;
const css = await build({
  stdin: { contents: themeCss() + (await readFile(path.join(here, 'src/style.css'), 'utf8')), loader: 'css' },
  minify: true,
  write: false,
});
const style = await writeHashed('style', 'css', css.outputFiles[0].contents);

for (const [name, title] of Object.entries(appPages)) {
  const script = await bundle(name);
  const main = `<h1>${title}</h1>\n<noscript><p class="notice">This page needs JavaScript. <a href="/help">Help</a> can be read without it.</p></noscript>`;
  await write(`${name}.html`, document({ title, icon, style, script, data: firstData[name], main, app: true }));
}

const script = await bundle('static_page');
for (const [status, [title, text]] of Object.entries(errorPages)) {
  const main = `<h1>${title}</h1>\n<p>${text}</p>\n<p class="muted">Error ${status}</p>\n<p><a href="/profile">To your profile</a> · <a href="/help">Help</a></p>`;
  await write(`${status}.html`, document({ title, icon, style, script, main, alone: true }));
}

// Pictures that help pages show: the screenshots of docs/, under names that say what is in them.
const pictures = {};
const shots = path.join(here, '../../docs/screenshots');
for (const file of await readdir(shots).catch(() => [])) {
  pictures[file] = await writeHashed(path.parse(file).name, 'png', await readFile(path.join(shots, file)));
}
for (const page of await helpPages(path.join(here, 'help'), pictures)) {
  await write(`help/${page.name}.html`, document({ title: page.title, icon, style, script, main: page.main, help: true }));
}
