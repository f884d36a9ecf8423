// Builds the pages into dist/: one bundle a page with a hashed name (served immutable), and its HTML (served no-store).
import { build } from 'esbuild';
import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import path from 'node:path';

const here = path.dirname(fileURLToPath(import.meta.url));
const dist = path.join(here, 'dist');

/** Page name → title and what a person without JavaScript reads. */
const pages = {
  profile: { title: 'Profile', noscript: 'The profile page needs JavaScript.' },
  'sign-in': { title: 'Sign in', noscript: 'Signing in needs JavaScript.' },
};

async function writeHashed(name, extension, text) {
  const hash = createHash('sha256').update(text).digest('hex').slice(0, 10);
  const file = `${name}.${hash}.${extension}`;
  await writeFile(path.join(dist, 'assets', file), text);
  return `/assets/${file}`;
}

await rm(dist, { recursive: true, force: true });
await mkdir(path.join(dist, 'assets'), { recursive: true });

const icon = await writeHashed('icon', 'svg', await readFile(path.join(here, 'src/icon.svg')));
const css = await build({ entryPoints: [path.join(here, 'src/style.css')], bundle: true, minify: true, write: false });
const style = await writeHashed('style', 'css', css.outputFiles[0].contents);

for (const [name, page] of Object.entries(pages)) {
  const bundle = await build({
    entryPoints: [path.join(here, `src/${name.replace('-', '_')}.tsx`)],
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    legalComments: 'none',
    write: false,
  });
  const script = await writeHashed(name, 'js', bundle.outputFiles[0].contents);
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${page.title} · Lumen</title>
<link rel="icon" href="${icon}" type="image/svg+xml">
<link rel="stylesheet" href="${style}">
<script type="module" src="${script}"></script>
</head>
<body>
<div id="app"></div>
<noscript><p class="notice">${page.noscript}</p></noscript>
</body>
</html>
`;
  await writeFile(path.join(dist, `${name}.html`), html);
}
