// What every page shares: header with navigation, announcement, footer. They fill the room that the skeleton leaves them
// (../document.mjs), so a page without its script still has a brand and a link to help.
import { render } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { signOut, type Budget, type Session, type Site } from './api';
import * as format from './format';
import { linkAddress, nodesOf, safeUrl } from './markup';
import { destinationsFor } from './navigation';
import { recall, remember, themeOf, wearTheme } from './themes';

/** Dismissing hides that exact message in this browser; a changed one shows again (P3). */
function Announcement({ site }: { site: Site }) {
  const [hidden, setHidden] = useState(() => recall('lumen.dismissed') === site.announcement);
  const text = useRef<HTMLDivElement>(null);
  const { announcement, support } = site;
  useLayoutEffect(() => {
    if (!text.current) return;
    text.current.replaceChildren(nodesOf(announcement));
    if (!support) return;
    const href = `mailto:${support.address}?subject=${encodeURIComponent(support.subject)}`;
    if (linkAddress(text.current, support.address, href) || text.current.querySelector('a[href^="mailto:"]')) return;
    const link = document.createElement('a');
    link.href = href;
    link.textContent = support.address;
    text.current.append(' ', link);
  }, [announcement, support, hidden]);
  if (!announcement || hidden) return null;
  return (
    <aside class="banner" aria-label="Announcement">
      <span class="info" aria-hidden="true">
        i
      </span>
      <div class="text" ref={text} />
      <button
        class="quiet close"
        aria-label="Dismiss announcement"
        onClick={() => {
          remember('lumen.dismissed', announcement);
          setHidden(true);
        }}
      >
        ✕
      </button>
    </aside>
  );
}

/** The balance in a few characters, for the header. */
function HeaderBalance({ budget }: { budget: Budget }) {
  const amount = budget.state === 'unlimited' ? 'Unlimited' : budget.available ? `${format.coins(budget.available)}` : null;
  if (amount === null) return null;
  return (
    <a class="purse" href="/profile">
      <span class="coin" aria-hidden="true" />
      <span class="number">{amount}</span>
      <span class="unit"> coins</span>
    </a>
  );
}

export interface ShellProperties {
  site: Site;
  session: Session;
  budget: Budget | null;
}

function Header({ site, session, budget }: ShellProperties) {
  const [open, setOpen] = useState(false);
  const { user } = session;
  const here = (path: string) => (location.pathname === path || location.pathname.startsWith(`${path}/`) ? 'page' : undefined);
  return (
    <>
      <header>
        <a class="brand" href={user ? '/profile' : '/sign-in'}>
          {site.name}
        </a>
        <nav aria-label="Main" id="menu" class={open ? 'open' : ''}>
          {destinationsFor(user !== null, session.is_admin).map(({ label, path }) => (
            <a key={path} href={path} aria-current={here(path)}>
              {label}
            </a>
          ))}
          <span class="spacer" />
          <a href="/help" aria-current={here('/help')}>
            Help
          </a>
          {user ? (
            <>
              <bdi class="who" title={user.email}>
                {user.name}
              </bdi>
              <button class="quiet" onClick={() => void signOut()}>
                Sign out
              </button>
            </>
          ) : (
            location.pathname !== '/sign-in' && <a href={`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`}>Sign in</a>
          )}
        </nav>
        {budget && <HeaderBalance budget={budget} />}
        <button class="quiet menu" aria-expanded={open} aria-controls="menu" aria-label="Menu" onClick={() => setOpen(!open)}>
          ☰
        </button>
      </header>
      <Announcement site={site} />
    </>
  );
}

function Footer({ site }: { site: Site }) {
  const theme = themeOf(site.theme);
  // A link that the configuration repeats after the theme's own is shown once.
  const links = [...theme.links, ...site.links].filter(({ label, url }, index, every) => safeUrl(url) && every.findIndex((link) => link.label === label) === index);
  return (
    <footer>
      {theme.house && (
        <a href={theme.house.url} rel="noreferrer">
          {theme.house.label}
        </a>
      )}
      <span>{site.name}</span>
      {links.map(({ label, url }) => (
        <a key={url} href={url} rel="noreferrer">
          {label}
        </a>
      ))}
    </footer>
  );
}

function fill(id: string, content: preact.ComponentChild) {
  const room = document.getElementById(id);
  if (!room) return;
  // What the skeleton put there has no part in what is drawn now.
  if (!room.dataset.filled) room.replaceChildren();
  room.dataset.filled = 'yes';
  render(content, room);
}

/** Draws header and footer, and wears the site's theme. Again with other values: what differs changes. */
export function drawShell(shell: ShellProperties): void {
  wearTheme(shell.site.theme);
  document.title = document.title.replace(/ · [^·]*$/, ` · ${shell.site.name}`);
  fill('top', <Header {...shell} />);
  fill('bottom', <Footer site={shell.site} />);
}

/** Puts a page into main. */
export function drawPage(page: preact.ComponentChild): void {
  fill('main', page);
}

/// In place of a page whose data did not come.
export function Failed({ title, text }: { title: string; text: string }) {
  return (
    <>
      <h1>{title}</h1>
      <p class="bad" role="alert">
        {text}
      </p>
      <button onClick={() => location.reload()}>Try again</button>
    </>
  );
}
