// The skeleton that every page is poured into: skip link, room for the header, main, room for the footer. The scripts fill
// the header and the footer; without them the brand and the link to help are there.

/**
 * `main` is HTML of ours; `app`: a script fills main; `alone`: a page in the middle of nothing; `help`: it has a side.
 * `data`: what the script asks for first. It comes beside the script, not after it: a round trip less.
 */
export function document({ title, icon, style, script, data, main, app = false, alone = false, help = false }) {
  const kind = [app && 'app', alone && 'alone', help && 'help'].filter(Boolean).join(' ');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} · Lumen</title>
<link rel="icon" href="${icon}" type="image/svg+xml">
<link rel="stylesheet" href="${style}">
<script type="module" src="${script}"></script>${data ? `\n<link rel="preload" href="${data}" as="fetch" crossorigin>` : ''}
</head>
<body>
<a class="skip" href="#main">Skip to content</a>
<div id="top"><header><a class="brand" href="/">Lumen</a><nav aria-label="Main"><a href="/help">Help</a></nav></header></div>
<main id="main" tabindex="-1" class="${kind}">
${main}
</main>
<div id="bottom"><footer></footer></div>
</body>
</html>
`;
}
