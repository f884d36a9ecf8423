// /sign-in, also the landing page: what this is, and the way in.
import { useState } from 'preact/hooks';
import type { Site } from './api';
import { drawPage } from './shell';
import { wearLastTheme } from './themes';
import { welcome } from './visitor';

/** Only paths of this site: anything else would make the page a redirector. */
function nextPath(): string {
  const next = new URLSearchParams(location.search).get('next') ?? '/profile';
  return /^\/(?![/\\])/.test(next) ? next : '/profile';
}

function Page({ site }: { site: Site | null }) {
  const [error, setError] = useState<string | null>(null);
  const ways = site?.sign_in ?? [];
  async function signIn() {
    try {
      const answer = await fetch('/api/v1/devlogin', { method: 'POST', redirect: 'manual' });
      // A manual redirect is opaque: the session cookie is set, and where to go is ours to say.
      if (answer.type === 'opaqueredirect' || answer.ok) return location.assign(nextPath());
      setError(`Signing in failed (${String(answer.status)}).`);
    } catch {
      setError('Lumen could not be reached. Check the connection and try again.');
    }
  }
  return (
    <div class="sign-in">
      <h1>{site?.name ?? 'Lumen'}</h1>
      {site?.tagline && <p class="muted">{site.tagline}</p>}
      <p>AI models for your programs and tools: one key, one balance, every model you may use.</p>
      {ways.includes('provider') && (
        <p>
          <a class="button primary large" href={`/api/v1/login?next=${encodeURIComponent(nextPath())}`}>
            Sign in
          </a>
        </p>
      )}
      {ways.includes('development') && (
        <p>
          <button class={ways.length === 1 ? 'primary large' : ''} onClick={() => void signIn()}>
            {ways.length === 1 ? 'Sign in' : 'Sign in as the development user'}
          </button>
        </p>
      )}
      {site && ways.length === 0 && <p class="bad">Signing in is not set up here yet.</p>}
      {!site && <p class="bad">Lumen could not be reached. Try again in a moment.</p>}
      <p class="bad" role="alert">
        {error}
      </p>
      <p>
        <a href="/models">See the models</a> · <a href="/help">Help</a>
      </p>
    </div>
  );
}

wearLastTheme();
welcome().then(
  ({ site }) => drawPage(<Page site={site} />),
  () => drawPage(<Page site={null} />),
);
