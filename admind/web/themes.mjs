// The themes (spec/ui.md T1–T3): colours for light and dark, whose house it is, and links of its own for the footer. A theme
// whose colours do not stand out enough is refused when the pages are built, with the pair named.

/** What all themes share: the grounds, and the colours that mean something. */
const common = {
  light: {
    page: '#f6f6f4', surface: '#ffffff', text: '#1d1f22', muted: '#575d65', line: '#d9dad6', edge: '#82878e', idle: '#ececea',
    good: '#1a6b35', 'good-bg': '#e2f3e6', bad: '#a51d1d', 'bad-bg': '#fbe7e5', warn: '#744700', 'warn-bg': '#fdeecb',
  },
  dark: {
    page: '#15171a', surface: '#1e2125', text: '#e8e8e6', muted: '#a7adb5', line: '#363a40', edge: '#7c838c', idle: '#2c3036',
    good: '#8fdca5', 'good-bg': '#173322', bad: '#ff9d94', 'bad-bg': '#3f1c1a', warn: '#f6cf7d', 'warn-bg': '#3a2b0c',
  },
};

const ncsa = { label: 'National Center for Supercomputing Applications', url: 'https://www.ncsa.illinois.edu/' };

export const themes = {
  default: {
    house: null,
    links: [],
    light: { accent: '#855600', 'on-accent': '#ffffff', header: '#ffffff', 'on-header': '#1d1f22' },
    dark: { accent: '#f0b94f', 'on-accent': '#1d1400', header: '#1e2125', 'on-header': '#e8e8e6' },
  },
  illinois: {
    house: ncsa,
    links: [{ label: 'Illinois Computes', url: 'https://computes.illinois.edu/' }],
    light: { accent: '#b23a0e', 'on-accent': '#ffffff', header: '#13294b', 'on-header': '#ffffff' },
    dark: { accent: '#ff8a4c', 'on-accent': '#1f0d02', header: '#13294b', 'on-header': '#ffffff' },
  },
  uic: {
    house: { label: 'University of Illinois Chicago', url: 'https://www.uic.edu/' },
    links: [],
    light: { accent: '#b8002c', 'on-accent': '#ffffff', header: '#001e62', 'on-header': '#ffffff' },
    dark: { accent: '#ff8fa3', 'on-accent': '#2b0009', header: '#001e62', 'on-header': '#ffffff' },
  },
  uis: {
    house: { label: 'University of Illinois Springfield', url: 'https://www.uis.edu/' },
    links: [],
    light: { accent: '#00528c', 'on-accent': '#ffffff', header: '#003366', 'on-header': '#ffffff' },
    dark: { accent: '#7cc0f5', 'on-accent': '#00172b', header: '#003366', 'on-header': '#ffffff' },
  },
};

/** [foreground, background, least contrast]: 4.5 for text, 3 for what only has to be seen (WCAG 1.4.3, 1.4.11). */
const pairs = [
  ...['page', 'surface', 'idle'].map((ground) => ['text', ground, 4.5]),
  ...['page', 'surface'].flatMap((ground) => [['muted', ground, 4.5], ['accent', ground, 4.5], ['bad', ground, 4.5], ['edge', ground, 3]]),
  ['on-accent', 'accent', 4.5],
  ['on-header', 'header', 4.5],
  ...['good', 'bad', 'warn'].map((meaning) => [meaning, `${meaning}-bg`, 4.5]),
  ['accent', 'idle', 3],
];

function luminance(colour) {
  const channels = [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16) / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  return 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2];
}

export function contrast(a, b) {
  const [lighter, darker] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (lighter + 0.05) / (darker + 0.05);
}

/** What is wrong with a theme's colours, in words; nothing: []. */
export function contrastProblems(name, theme) {
  const problems = [];
  for (const scheme of ['light', 'dark']) {
    const colours = { ...common[scheme], ...theme[scheme] };
    for (const [foreground, background, least] of pairs) {
      const found = contrast(colours[foreground], colours[background]);
      if (found < least) {
        problems.push(`theme ${name}, ${scheme}: ${foreground} ${colours[foreground]} on ${background} ${colours[background]} ` +
          `has a contrast of ${found.toFixed(2)}; ${least} is the least`);
      }
    }
  }
  return problems;
}

const variables = (colours) => Object.entries(colours).map(([name, value]) => `--${name}:${value}`).join(';');

/** Style rules that set every theme's colours, by `data-theme` of the root; throws if one cannot be read. */
export function themeCss(all = themes) {
  const problems = Object.entries(all).flatMap(([name, theme]) => contrastProblems(name, theme));
  if (problems.length > 0) throw new Error(problems.join('\n'));
  const rules = (scheme) => Object.entries(all)
    .map(([name, theme]) => `${name === 'default' ? '' : `[data-theme=${name}]`}{${variables(theme[scheme])}}`)
    .map((rule) => `:root${rule}`).join('\n');
  return `:root{color-scheme:light dark;${variables(common.light)}}\n${rules('light')}\n` +
    `@media (prefers-color-scheme:dark){\n:root{${variables(common.dark)}}\n${rules('dark')}\n}\n`;
}

/** What the pages' scripts need of them: no colours. */
export const themeFacts = Object.fromEntries(Object.entries(themes).map(([name, { house, links }]) => [name, { house, links }]));
