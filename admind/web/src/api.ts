// What the pages know of admind's REST (GET /api/openapi.json is the contract), and the one function that calls it.

export interface Coins {
  coins: string;
  nano: string;
}

export interface Use {
  requests: number;
  tokens: number;
  coins: Coins;
  last_used_at: string | null;
}

export interface Budget {
  state: 'unlimited' | 'limited' | 'blocked' | 'none';
  limit: Coins | null;
  balance: Coins | null;
  held: Coins | null;
  free: Coins | null;
  available: Coins | null;
  /** Requests that hold coins; null: not known. */
  running: number | null;
  refill_per_hour: Coins | null;
  next_refill_at: string | null;
}

export interface Forecast {
  state: 'no_limit' | 'exhausted' | 'not_enough_use' | 'refill_covers' | 'runs_out' | 'beyond';
  burn_per_hour: Coins | null;
  refill_per_hour: Coins | null;
  runs_out_at: string | null;
  window_hours: number;
  window_coins: Coins;
}

export interface Me {
  id: string;
  name: string;
  email: string;
  avatar: 'gravatar' | 'initials';
  /** May the person choose? */
  avatar_choice: boolean;
  avatar_url: string;
  /** What the person wants to hear of, and what the site can do. */
  notices: { mail: boolean; webhook: boolean; offers_mail: boolean; offers_webhook: boolean; low_balance_percent: number };
  groups: string[];
  coins_used: Coins;
  tokens_used: { input: number; output: number; total: number };
  favorite_model: string | null;
  budget: Budget;
  forecast: Forecast;
  chat: Use & { conversations: number };
  now: string;
}

export interface Key extends Use {
  id: string;
  name: string;
  hint: string;
  created_at: string;
  expires_at: string | null;
  deleted_at: string | null;
  paused: boolean;
  models: string[] | null;
  budget: { coins: string; period: 'day' | 'week' | 'month' | 'total' } | null;
}

export type Access = 'need_consent' | 'consented' | 'allowed' | 'blocked';
export type Status = 'ok' | 'degraded' | 'down' | 'disabled';

/** A model as the signed-in person has it (GET /me/models). */
export interface Model extends Use {
  model: string;
  access: Access;
  status: Status;
  notice_html: string | null;
  notice_version: number;
  consented_at: string | null;
}

/** A model as everybody sees it (GET /models); `access` and what follows only for who is signed in. */
export interface PublicModel {
  name: string;
  description: string;
  url: string;
  prices: Record<string, Coins>;
  context_window: number | null;
  max_output_tokens: number | null;
  knowledge_cutoff: string | null;
  supports_reasoning: boolean | null;
  supports_function_calling: boolean | null;
  input_modalities: string[];
  output_modalities: string[];
  status: Status;
  healthy: number;
  endpoints: number;
  last_checked_at: string | null;
  needs_ack: boolean;
  requests_1h: number;
  requests_24h: number;
  access?: Access;
  notice_html?: string | null;
  notice_version?: number;
  consented_at?: string | null;
  use?: Use;
  endpoint_states?: { id: string; healthy: boolean | null; reason: string | null }[];
}

export interface Page<T> {
  data: T[];
  next_cursor: string | null;
}

export interface Link {
  label: string;
  url: string;
}

export interface Site {
  name: string;
  tagline: string;
  theme: string;
  announcement: string;
  support: { address: string; subject: string } | null;
  links: Link[];
  public_url: string;
  sign_in: ('provider' | 'development')[];
  version: string;
}

export interface Session {
  user: { id: string; name: string; email: string } | null;
  is_admin: boolean;
  now: string;
}

export interface Profile {
  site: Site;
  session: Session;
  me: Me;
  keys: Page<Key>;
  models: Page<Model>;
}

export interface Draft {
  draft_id: string;
  key: string;
  hint: string;
  expires_at: string;
}

/** A refusal of the server (RFC 9457), or of the network: then `code` is `network`. */
export class ApiError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

const deadlineMs = 15_000;

async function problemOf(response: Response): Promise<ApiError> {
  const body: unknown = await response.json().catch(() => null);
  const problem = (body ?? {}) as { code?: string; detail?: string; title?: string };
  return new ApiError(
    problem.code ?? 'unknown',
    problem.detail ?? problem.title ?? `The server answered ${response.status}.`,
    response.status,
  );
}

/** Ends what is under way when the person leaves: nothing asks on behalf of a session that is over. */
const leaving = new AbortController();
export const untilLeaving = leaving.signal;
addEventListener('pageshow', () => {
  if (leaving.signal.aborted) location.reload(); // the browser kept this page and came back to it
});

function deadline(): AbortSignal {
  const late = AbortSignal.timeout(deadlineMs);
  return 'any' in AbortSignal ? AbortSignal.any([late, untilLeaving]) : late;
}

async function answerOf(method: string, path: string, body?: object, signal = deadline()): Promise<Response> {
  try {
    return await fetch(`/api/v1${path}`, {
      method,
      credentials: 'same-origin',
      // Signing out answers with a redirect for browsers without scripts; where to go next is ours to say.
      redirect: 'manual',
      signal,
      ...(body ? { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) } : {}),
    });
  } catch {
    throw new ApiError('network', 'Lumen could not be reached. Check the connection and try again.', 0);
  }
}

export function toSignIn(): void {
  if (leaving.signal.aborted) return;
  leaving.abort();
  location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
}

export async function signOut(): Promise<void> {
  leaving.abort();
  await answerOf('POST', '/logout', undefined, AbortSignal.timeout(deadlineMs)).catch(() => undefined);
  location.assign('/sign-in');
}

/** Calls /api/v1; signed out means the sign-in page and back. */
export async function call<T>(method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, body?: object): Promise<T> {
  const response = await answerOf(method, path, body);
  if (response.status === 401) toSignIn();
  if (response.type === 'opaqueredirect') return undefined as T;
  if (!response.ok) throw await problemOf(response);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

/** The text of a failure, for people. */
export function textOf(failure: unknown): string {
  return failure instanceof ApiError ? failure.message : 'Something went wrong in this page. Load it again.';
}

/** Follows the cursors of a list, at most 100 pages. */
export async function all<T>(path: string): Promise<T[]> {
  const rows: T[] = [];
  let cursor = '';
  for (let page = 0; page < 100; page++) {
    const joined = `${path}${path.includes('?') ? '&' : '?'}limit=200${cursor}`;
    const answer: Page<T> = await call('GET', joined);
    rows.push(...answer.data);
    if (!answer.next_cursor) break;
    cursor = `&cursor=${encodeURIComponent(answer.next_cursor)}`;
  }
  return rows;
}
