// /sign-in: the configured development user, on loopback only; the identity provider's button joins it there.
import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { ApiError, call, type Site } from './api';

/** Only paths of this site: anything else would make the page a redirector. */
function nextPath(): string {
  const next = new URLSearchParams(location.search).get('next') ?? '/profile';
  return /^\/(?![/\\])/.test(next) ? next : '/profile';
}

function Page() {
  const [site, setSite] = useState<Site | null>(null);
  const [error, setError] = useState<string | null>(null);
  useEffect(() => {
    call<Site>('GET', '/site').then(setSite, (problem: ApiError) => setError(problem.message));
  }, []);
  async function signIn() {
    try {
      const answer = await fetch('/api/v1/devlogin', { method: 'POST', redirect: 'manual' });
      // A manual redirect is opaque: the session cookie is set, and where to go is ours to say.
      if (answer.type === 'opaqueredirect' || answer.ok) return location.assign(nextPath());
      setError(
        answer.status === 404 ? 'Signing in is not set up here.' : `Signing in failed (${String(answer.status)}).`,
      );
    } catch {
      setError('Lumen could not be reached. Check the connection and try again.');
    }
  }
  return (
    <main class="alone">
      <h1>{site?.name ?? 'Lumen'}</h1>
      {site?.tagline && <p class="muted">{site.tagline}</p>}
      <button class="primary" onClick={() => void signIn()}>
        Sign in
      </button>
      <p class="bad" role="alert">
        {error}
      </p>
    </main>
  );
}

const app = document.getElementById('app');
if (app) render(<Page />, app);
