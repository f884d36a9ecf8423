// What the profile page knows, and how an answer or a push changes it. Rows that say the same stay the same objects, so
// that they are not drawn again.
import type { Budget, Coins, Key, Model, Profile } from './api';
import type { Push } from './live_stream';
import { serverClock, type ServerClock } from './server_clock';

export interface ProfileState {
  profile: Profile;
  clock: ServerClock;
}

function keepUnchanged<Row>(fresh: Row[], before: Row[], idOf: (row: Row) => string): Row[] {
  const known = new Map(before.map((row) => [idOf(row), row]));
  return fresh.map((row) => {
    const old = known.get(idOf(row));
    return old && JSON.stringify(old) === JSON.stringify(row) ? old : row;
  });
}

/** A new answer of GET /me/profile. */
export function merged(before: ProfileState | null, profile: Profile): ProfileState {
  const clock = serverClock(profile.me.now);
  if (!before) return { profile, clock };
  const { keys, models } = before.profile;
  return {
    // The first clock goes on: a new one would restart the countdown's second.
    clock: Math.abs(clock() - before.clock()) < 2000 ? before.clock : clock,
    profile: {
      ...profile,
      keys: { ...profile.keys, data: keepUnchanged(profile.keys.data, keys.data, (row) => row.id) },
      models: { ...profile.models, data: keepUnchanged(profile.models.data, models.data, (row) => row.model) },
    },
  };
}

interface BalancePush {
  state: Budget['state'];
  balance: Coins | null;
  held: Coins | null;
  free: Coins | null;
  limit: Coins | null;
  rate: Coins | null;
  next_refill_at: string | null;
  used: Coins | null;
  tokens: { input: number; output: number; total: number } | null;
}

function withBalance(profile: Profile, push: BalancePush): Profile {
  const { me } = profile;
  const sameHolds = push.held?.nano === me.budget.held?.nano;
  const budget: Budget = {
    ...me.budget,
    state: push.state,
    limit: push.limit,
    balance: push.balance,
    held: push.held,
    free: push.free,
    available: push.balance,
    // How many hold is not pushed.
    running: sameHolds ? me.budget.running : null,
    refill_per_hour: push.rate,
    next_refill_at: push.next_refill_at,
  };
  return { ...profile, me: { ...me, budget, coins_used: push.used ?? me.coins_used, tokens_used: push.tokens ?? me.tokens_used } };
}

/** The state after a push, and whether the page has to be read again to be right. */
export function pushed(before: ProfileState, { event, data }: Push): { state: ProfileState; reread: boolean } {
  const { profile } = before;
  const next = (changed: Profile, reread: boolean) => ({ state: { ...before, profile: changed }, reread });
  if (event === 'balance') {
    const push = data as unknown as BalancePush;
    // Without the book's totals something may have been missed; if the balance is what is shown, nothing was.
    const moved = push.balance?.nano !== profile.me.budget.balance?.nano;
    return next(withBalance(profile, push), push.used === null && moved);
  }
  if (event === 'key') {
    const fresh = data as Partial<Key>;
    if (fresh.requests === undefined) return next(profile, true);
    const rows = profile.keys.data.map((row) => (row.id === fresh.id ? { ...row, ...fresh } : row));
    return next({ ...profile, keys: { ...profile.keys, data: rows } }, false);
  }
  if (event === 'model') {
    const fresh = data as Partial<Model>;
    if (fresh.model === undefined) return next(profile, true);
    const rows = profile.models.data.map((row) => (row.model === fresh.model ? { ...row, ...fresh } : row));
    return next({ ...profile, models: { ...profile.models, data: rows } }, fresh.access !== undefined);
  }
  if (event === 'notice') {
    // Of a wallet that ran low: the balance comes by itself, and the page says the rest.
    if (data.notice !== undefined) return next(profile, false);
    if (typeof data.announcement !== 'string') return next(profile, true);
    return next({ ...profile, site: { ...profile.site, announcement: data.announcement } }, false);
  }
  return next(profile, false);
}
