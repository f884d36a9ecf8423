// /profile: one request brings all of it (GET /me/profile); pushes, or the same request again, keep it up to date.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { call, textOf, type Key, type Model, type Profile } from './api';
import { Keys } from './keys';
import { useFresh } from './live';
import { ModelAccess } from './model_access';
import { Notices } from './notices';
import { ProfileCard, WebChat } from './profile_card';
import { merged, pushed, type ProfileState } from './profile_state';
import { drawPage, drawShell, Failed } from './shell';
import { wearLastTheme } from './themes';

function Page({ first }: { first: Profile }) {
  const state = useRef<ProfileState | null>(null);
  state.current ??= merged(null, first);
  const [, redraw] = useState(0);
  const show = (next: ProfileState) => {
    state.current = next;
    redraw((count) => count + 1);
  };
  const load = async () => show(merged(state.current, await call<Profile>('GET', '/me/profile')));
  const [freshness, onRefillDue] = useFresh(load, (push) => {
    const result = pushed(state.current ?? merged(null, first), push);
    show(result.state);
    return result.reread;
  });
  const { profile, clock } = state.current;
  const { site, session, me } = profile;
  useEffect(() => drawShell({ site, session, budget: me.budget }), [site, session, me.budget]);
  const usable = useMemo(() => profile.models.data.filter(({ access }) => access !== 'blocked').map(({ model }) => model), [profile.models.data]);
  const showKeys = (data: Key[]) => show({ clock, profile: { ...profile, keys: { ...profile.keys, data } } });
  const showModels = (data: Model[]) => show({ clock, profile: { ...profile, models: { ...profile.models, data } } });
  return (
    <>
      <h1>Profile</h1>
      <ProfileCard me={me} clock={clock} freshness={freshness} onRefillDue={onRefillDue} onAvatarChanged={() => void load()} />
      <WebChat chat={me.chat} />
      <Keys active={profile.keys.data} clock={clock} models={usable} onChanged={showKeys} />
      <ModelAccess enabled={profile.models.data} onChanged={showModels} />
      <Notices me={me} onChanged={load} />
    </>
  );
}

wearLastTheme();
call<Profile>('GET', '/me/profile').then(
  (profile) => {
    // The header first: an announcement that came later would push the page down.
    drawShell({ site: profile.site, session: profile.session, budget: profile.me.budget });
    drawPage(<Page first={profile} />);
  },
  (failure) => drawPage(<Failed title="Profile" text={textOf(failure)} />),
);
