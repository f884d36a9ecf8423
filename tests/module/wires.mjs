// A refusal as every client sees it: asked in OpenAI's words or in Anthropic's, over HTTP/1.1 or HTTP/2, and held against its row
// of the error table (spec/api.md §2).
import assert from 'node:assert/strict';
import http2 from 'node:http2';
import { chatBody } from './traffic.mjs';

/// How something is asked: in whose words, and over which protocol.
export const WIRES = ['OpenAI', 'Anthropic'].flatMap((dialect) => [1, 2].map((protocol) => ({ dialect, protocol, name: `${dialect}, HTTP/${protocol}` })));

const REQUEST_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/// Anthropic's word for a row: by its status, but for what is about coins and load.
const ANTHROPIC_TYPES = { 400: 'invalid_request_error', 401: 'authentication_error', 402: 'billing_error', 403: 'permission_error', 404: 'not_found_error', 405: 'invalid_request_error', 413: 'request_too_large', 422: 'invalid_request_error', 429: 'rate_limit_error', 500: 'api_error', 502: 'api_error', 503: 'api_error', 504: 'api_error', 529: 'overloaded_error' };
const anthropicType = (status, type) => (type === 'insufficient_quota' ? 'billing_error' : ANTHROPIC_TYPES[status]);

/// Asks a stack, by `wire`, which may be set to any of WIRES at any time.
export class Wires {
  wire = WIRES[0];

  /// `http2Port`: where the gate speaks HTTP/2 without TLS.
  constructor(stack, http2Port) { Object.assign(this, { stack, http2Port }); }

  get path() { return this.wire.dialect === 'OpenAI' ? '/v1/chat/completions' : '/v1/messages'; }

  /// One request on a connection of its own: {status, headers, text}. The key is sent as the dialect's SDKs send it.
  send(target, { key, headers = {}, ...options } = {}) {
    const asked = { ...(key === undefined ? {} : this.wire.dialect === 'OpenAI' ? { authorization: `Bearer ${key}` } : { 'x-api-key': key }), ...headers };
    return this.wire.protocol === 1 ? this.#send1(target, { ...options, headers: asked }) : this.#send2(target, { ...options, headers: asked });
  }

  chat(key, body = chatBody(), options = {}) {
    return this.send(options.target ?? this.path, { method: 'POST', key, body: typeof body === 'string' ? body : JSON.stringify(body), ...options });
  }

  async #send1(target, { headers, url = this.stack.url, ...options }) {
    const answer = await fetch(url + target, { ...options, headers: { connection: 'close', ...headers } });
    const text = await answer.text();
    return { status: answer.status, headers: answer.headers, text };
  }

  #send2(target, { method = 'GET', headers, body, url = `http://127.0.0.1:${this.http2Port}` }) {
    return new Promise((resolve, reject) => {
      const session = http2.connect(url);
      session.on('error', reject);
      const stream = session.request({ ':method': method, ':path': target, ...headers }, { endStream: body === undefined });
      const chunks = [];
      let answer;
      stream.on('response', (seen) => {
        answer = new Headers(Object.entries(seen).filter(([name]) => !name.startsWith(':')).map(([name, value]) => [name, String(value)]));
        answer.status = seen[':status'];
      });
      stream.on('data', (chunk) => chunks.push(chunk));
      stream.on('error', (error) => (answer === undefined ? reject(error) : undefined));  // the rest of a body nobody wants
      stream.on('close', () => {
        session.close();
        if (answer) resolve({ status: answer.status, headers: answer, text: Buffer.concat(chunks).toString() });
      });
      stream.end(body);
    });
  }

  /// `headers`: name → text, pattern, or null for "not there"; `members`: of the error object.
  assertRefused(answer, { status, type, code = null, param = null, headers = {}, members = {} }) {
    const anthropic = this.wire.dialect === 'Anthropic';
    const expectedStatus = anthropic && code === 'server_is_overloaded' ? 529 : status;
    assert.equal(answer.status, expectedStatus, answer.text);
    assert.match(answer.headers.get('content-type'), /^application\/json/);
    assert.match(answer.headers.get('x-request-id'), REQUEST_ID);
    this.assertTellsNothing(answer);
    const { error, ...rest } = JSON.parse(answer.text);
    assert.deepEqual(rest, anthropic ? { type: 'error' } : {}, 'nothing beside `error`');
    const { message, ...seen } = error;
    assert.ok(message.length > 10, 'the message helps');
    const expected = anthropic ? { type: anthropicType(expectedStatus, type) } : { type, code, param, ...members };
    for (const [name, value] of Object.entries(expected)) {
      if (value instanceof RegExp) {
        assert.match(seen[name], value);
        expected[name] = seen[name];
      }
    }
    assert.deepEqual(seen, expected);
    const defaults = { 'x-should-retry': null, 'retry-after': null, 'retry-after-ms': null, 'x-lumen-balance': null, 'x-lumen-retry-at': null, 'www-authenticate': null };
    for (const [name, value] of Object.entries({ ...defaults, ...headers })) {
      const header = answer.headers.get(name);
      if (value instanceof RegExp) assert.match(header ?? '', value, name);
      else assert.equal(header, value, name);
    }
  }

  /// Neither an endpoint's address nor its server's name nor a credential.
  assertTellsNothing(answer) {
    const all = [...answer.headers].flat().join(' ') + answer.text;
    for (const secret of [new URL(this.stack.modelServers[0].url).host, '/misbehave/', 'Poco', 'model-server', 'sk_']) {
      assert.ok(!all.replace('sk_...', '').includes(secret), `${secret} in ${all}`);
    }
  }

  /// The refusal in all words and over all protocols, one after the other.
  async assertRefusedOnAll(ask, expected) {
    for (this.wire of WIRES) this.assertRefused(await ask(), expected);
    this.wire = WIRES[0];
  }
}
