// What every page shares: header, announcement, footer, and how a moment or an amount is shown.
import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { call, type Coins, type Me, type Site } from './api';
import * as format from './format';

export function Amount({ value }: { value: Coins }) {
  return (
    <data class="number" value={value.coins} title={`${value.coins} coins`}>
      {format.coins(value)}
    </data>
  );
}

export function Moment({ at, never }: { at: string | null; never: string }) {
  if (!at) return <>{never}</>;
  return (
    <time dateTime={at} title={at}>
      {format.time(at, new Date())}
    </time>
  );
}

/** The banner holds the operator's own markup, so it is shown as the text it is; dismissing hides that exact message. */
function Announcement({ site }: { site: Site }) {
  const text = plainText(site.announcement);
  const [hidden, setHidden] = useState(() => localStorage.getItem('lumen.dismissed') === text);
  if (!text || hidden) return null;
  const { support } = site;
  return (
    <aside class="banner" aria-label="Announcement">
      <p>
        {text}{' '}
        {support && (
          <a href={`mailto:${support.address}?subject=${encodeURIComponent(support.subject)}`}>{support.address}</a>
        )}
      </p>
      <button
        class="quiet"
        aria-label="Dismiss announcement"
        onClick={() => {
          localStorage.setItem('lumen.dismissed', text);
          setHidden(true);
        }}
      >
        ✕
      </button>
    </aside>
  );
}

function plainText(html: string): string {
  return html
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ')
    .trim();
}

async function signOut() {
  await call('POST', '/logout').catch(() => undefined);
  location.assign('/sign-in');
}

export function Shell({ site, me, children }: { site: Site; me: Me; children: ComponentChildren }) {
  useEffect(() => {
    document.title = `Profile · ${site.name}`;
  }, [site.name]);
  return (
    <>
      <a class="skip" href="#main">
        Skip to content
      </a>
      <header>
        <span class="brand">{site.name}</span>
        <nav aria-label="Main">
          <a href="/profile" aria-current="page">
            Profile
          </a>
        </nav>
        <span class="spacer" />
        <bdi class="who">{me.name}</bdi>
        <button class="quiet" onClick={() => void signOut()}>
          Sign out
        </button>
      </header>
      <Announcement site={site} />
      <main id="main">{children}</main>
      <footer>
        <span>{site.name}</span>
        {site.links.map((link) => (
          <a key={link.url} href={link.url} rel="noreferrer">
            {link.label}
          </a>
        ))}
      </footer>
    </>
  );
}
