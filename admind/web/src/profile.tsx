// /profile: one request brings all of it (GET /me/profile).
import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { ApiError, call, type Me, type Profile } from './api';
import { Keys } from './keys';
import { Models } from './models';
import { ProfileCard, WebChat } from './profile_card';
import { Shell } from './shell';

const refreshMs = 15_000;

function Page() {
  const [profile, setProfile] = useState<Profile | null>(null);
  const [error, setError] = useState<string | null>(null);

  useEffect(() => {
    call<Profile>('GET', '/me/profile').then(setProfile, (problem: ApiError) => setError(problem.message));
  }, []);

  async function refreshMe() {
    try {
      const me = await call<Me>('GET', '/me');
      setProfile((before) => before && { ...before, me });
    } catch {
      // The next round tries again; what is shown stays.
    }
  }
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) void refreshMe();
    }, refreshMs);
    return () => clearInterval(timer);
  }, []);

  if (error) {
    return (
      <main class="alone">
        <h1>Profile</h1>
        <p class="bad" role="alert">
          {error}
        </p>
        <button onClick={() => location.reload()}>Try again</button>
      </main>
    );
  }
  if (!profile) return <main class="alone" aria-busy="true" />;
  return (
    <Shell site={profile.site} me={profile.me}>
      <h1>Profile</h1>
      <ProfileCard me={profile.me} onRefillDue={() => void refreshMe()} />
      <WebChat chat={profile.me.chat} />
      <Keys initial={profile.keys.data} />
      <Models initial={profile.models.data} />
    </Shell>
  );
}

const app = document.getElementById('app');
if (app) render(<Page />, app);
