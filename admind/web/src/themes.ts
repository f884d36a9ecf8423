// What a theme brings besides its colours (../themes.mjs): whose house this is, and links for the footer.
import type { Link } from './api';

interface Theme {
  house: Link | null;
  links: Link[];
}

declare const THEMES: Record<string, Theme>;  // put in by the build

const fallback: Theme = { house: null, links: [] };

/** Unknown → default (T1). */
export function themeOf(name: string): Theme {
  return THEMES[name] ?? THEMES.default ?? fallback;
}

const remembered = 'lumen.theme';

/** Sets the colours, and remembers them, so that the next page begins in them. */
export function wearTheme(name: string): void {
  document.documentElement.dataset.theme = name in THEMES ? name : 'default';
  remember(remembered, name);
}

export function wearLastTheme(): void {
  const last = recall(remembered);
  if (last) document.documentElement.dataset.theme = last;
}

/** Storage may be forbidden or full: then nothing is remembered, and nothing fails. */
export function remember(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // As said.
  }
}

export function recall(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}
