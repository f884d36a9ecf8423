// What an operator's script does over REST: users, limits, keys (spec/rest.md §2).
import { randomUUID } from 'node:crypto';

/// A resource that admind changes this often between two calls is changed for ever; a store that is away this long is down.
const MOST_TRIES = 5;
const AWAY_PAUSE_MS = 1000;

export class RestError extends Error {
  constructor(method, path, status, body) {
    super(`${method} ${path}: ${status} ${JSON.stringify(body)}`);
    Object.assign(this, { status, body });
  }
}

export class Operator {
  /// `contract`: what answers are held against, in tests.
  constructor(url, token, contract = null) {
    Object.assign(this, { url, token, contract });
  }

  /// The answer whatever its status: {status, headers, body}.
  async call(method, path, body, headers = {}) {
    const response = await fetch(`${this.url}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.token}`,
        // A connection of its own: one kept idle may be closed by a reload just as the next call is written to it.
        connection: 'close',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        // Every call is one intent: a repeat by the network's fault is none of its own.
        ...(method === 'POST' ? { 'idempotency-key': randomUUID() } : {}),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    const json = /json/.test(response.headers.get('content-type') ?? '') && text !== '';
    const answer = { status: response.status, headers: response.headers, body: json ? JSON.parse(text) : text };
    await this.contract?.check(method, `/api/v1${path}`, answer);
    return answer;
  }

  /// The body of a 2xx answer; anything else is an error that quotes it. A store that does not answer in time, as on a
  /// machine that stalls, is asked again: with the same intent.
  async rest(method, path, body, headers) {
    const intent = method === 'POST' ? { 'idempotency-key': randomUUID() } : {};
    for (let tries = 1; ; tries++) {
      const answer = await this.call(method, path, body, { ...intent, ...headers });
      if (answer.status >= 200 && answer.status <= 299) return answer.body;
      if (answer.status !== 503 || tries === MOST_TRIES) throw new RestError(method, path, answer.status, answer.body);
      await new Promise((resolve) => { setTimeout(resolve, AWAY_PAUSE_MS); });
    }
  }

  /// Changes a resource as it stands now; again, if admind itself changed it between the two calls.
  async change(method, path, resource, body) {
    for (let tries = 1; ; tries++) {
      const current = await this.call('GET', resource);
      const etag = current.headers.get('etag');
      try {
        return await this.rest(method, path, body, etag ? { 'if-match': etag } : {});
      } catch (error) {
        if (error.status !== 412 || tries === MOST_TRIES) throw error;
      }
    }
  }

  /// A user with a budget and a key: {user, account, key, keyId}.
  async createUser({ email, name, limits, keyName }) {
    const user = await this.rest('POST', '/admin/users', { email, name });
    const { account } = user;
    if (limits) await this.change('PUT', `/admin/accounts/${account}/limits`, `/admin/accounts/${account}`, limits);
    const key = await this.createKey(account, { name: keyName });
    return { user: user.id, account, key: key.key, keyId: key.id };
  }

  createKey(account, { name = 'default', ...rest } = {}) {
    return this.rest('POST', `/admin/accounts/${account}/keys`, { name, ...rest });
  }

  deleteKey(account, keyId) {
    return this.change('DELETE', `/admin/accounts/${account}/keys/${keyId}`, `/admin/accounts/${account}`);
  }
}
