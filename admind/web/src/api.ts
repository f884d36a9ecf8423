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
  refill_per_hour: Coins | null;
  next_refill_at: string | null;
}

export interface Me {
  id: string;
  name: string;
  email: string;
  groups: string[];
  coins_used: Coins;
  tokens_used: { input: number; output: number; total: number };
  favorite_model: string | null;
  budget: Budget;
  chat: Use & { conversations: number };
  now: string;
}

export interface Key extends Use {
  id: string;
  name: string;
  hint: string;
  created_at: string;
  deleted_at: string | null;
}

export interface Model extends Use {
  model: string;
  access: 'need_consent' | 'consented' | 'allowed' | 'blocked';
  status: 'ok' | 'degraded' | 'down' | 'disabled';
  notice: string | null;
  notice_version: number;
}

export interface Page<T> {
  data: T[];
  next_cursor: string | null;
}

export interface Site {
  name: string;
  tagline: string;
  announcement: string;
  support: { address: string; subject: string } | null;
  links: { label: string; url: string }[];
}

export interface Profile {
  site: Site;
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

/** Calls /api/v1; signed out means the sign-in page and back. */
export async function call<T>(method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, body?: object): Promise<T> {
  let response: Response;
  try {
    response = await fetch(`/api/v1${path}`, {
      method,
      credentials: 'same-origin',
      signal: AbortSignal.timeout(deadlineMs),
      ...(body ? { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) } : {}),
    });
  } catch {
    throw new ApiError('network', 'Lumen could not be reached. Check the connection and try again.', 0);
  }
  if (response.status === 401) {
    location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
  if (!response.ok) throw await problemOf(response);
  return (response.status === 204 ? undefined : await response.json()) as T;
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
