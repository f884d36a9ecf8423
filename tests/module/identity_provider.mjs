// A real OpenID provider (oidc-provider) on a port of its own, and a browser that walks through it: who signs in is what
// the test says, and what the provider answers can be spoilt on its way.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';
import { freePort } from '../harness/machine.mjs';

export const CLIENT = { id: 'lumen', secret: 'a-secret:&+more%20' };

const makeKey = {
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
};
let keys = 0;
const newKey = (alg) => ({ ...makeKey[alg]().privateKey.export({ format: 'jwk' }), kid: `key-${++keys}`, use: 'sig', alg });

export async function startProvider(redirectUri) {
  const provider = new IdentityProvider(await freePort(), redirectUri);
  await provider.listen();
  return provider;
}

class IdentityProvider {
  people = {};    // subject → claims
  person = null;  // who signs in next
  refuses = false;
  spoil = null;   // (path, body) → body: the last word on a JSON answer

  constructor(port, redirectUri) {
    Object.assign(this, { port, redirectUri, issuer: `http://127.0.0.1:${port}` });
    this.metadataUrl = `${this.issuer}/.well-known/openid-configuration`;
    this.useNewKeys('RS256');
  }

  /// The provider as it is after an exchange of its keys; nobody is signed in there any more.
  useNewKeys(alg, { claimsInIdToken = false } = {}) {
    this.oidc = new Provider(this.issuer, {
      clients: [{
        client_id: CLIENT.id, client_secret: CLIENT.secret, redirect_uris: [this.redirectUri],
        grant_types: ['authorization_code'], response_types: ['code'], id_token_signed_response_alg: alg,
      }],
      jwks: { keys: [newKey(alg)] },
      enabledJWA: { idTokenSigningAlgValues: ['RS256', 'ES256'] },
      pkce: { required: () => true, methods: ['S256'] },
      claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'affiliation', 'member_of', 'org'] },
      conformIdTokenClaims: !claimsInIdToken,  // conforming: only UserInfo has them
      findAccount: (_, subject) => ({ accountId: subject, claims: () => ({ sub: subject, ...this.people[subject] }) }),
      features: { devInteractions: { enabled: false } },
      interactions: { url: (_, { uid }) => `/interaction/${uid}` },
      cookies: { keys: ['of this test'] },
      ttl: { AccessToken: 600, AuthorizationCode: 60, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
    });
    this.handler = this.oidc.callback();
  }

  listen() {
    this.server = createServer((request, response) => {
      this.#spoilAnswer(request, response);
      if (!request.url.startsWith('/interaction/')) return this.handler(request, response);
      return this.#decide(request, response).catch((error) => {
        response.statusCode = 500;
        response.end(String(error));
      });
    });
    return new Promise((resolve) => { this.server.listen(this.port, '127.0.0.1', resolve); });
  }

  async close() {
    this.server.closeAllConnections();
    await new Promise((resolve) => { this.server.close(resolve); });
  }

  async #decide(request, response) {
    if (this.refuses) return this.oidc.interactionFinished(request, response, { error: 'access_denied' });
    const { params } = await this.oidc.interactionDetails(request, response);
    const grant = new this.oidc.Grant({ accountId: this.person, clientId: params.client_id });
    grant.addOIDCScope(params.scope);
    return this.oidc.interactionFinished(request, response, {
      login: { accountId: this.person, remember: false }, consent: { grantId: await grant.save() },
    });
  }

  #spoilAnswer(request, response) {
    const end = response.end.bind(response);
    response.end = (body, ...rest) => {
      const { pathname } = new URL(request.url, this.issuer);
      if (!this.spoil || !['/token', '/me', '/jwks'].includes(pathname)) return end(body, ...rest);
      const spoilt = JSON.stringify(this.spoil(pathname, JSON.parse(body)));
      response.setHeader('content-length', Buffer.byteLength(spoilt));
      return end(spoilt);
    };
  }
}

/// A browser: cookies by origin, redirects one at a time.
export class Browser {
  #cookies = new Map();

  async get(url, options = {}) {
    const { origin } = new URL(url);
    const jar = this.#cookies.get(origin) ?? new Map();
    this.#cookies.set(origin, jar);
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    const answer = await fetch(url, { redirect: 'manual', ...options, headers: { ...(cookie ? { cookie } : {}), ...options.headers } });
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value, attributes] = /^([^=]+)=([^;]*)(.*)$/.exec(line);
      if (/max-age=0|expires=Thu, 01 Jan 1970/i.test(attributes)) jar.delete(name);
      else jar.set(name, value);
    }
    return answer;
  }

  /// Nobody is signed in at that site any more.
  forget(origin) { this.#cookies.delete(origin); }

  cookies(origin) { return this.#cookies.get(origin) ?? new Map(); }

  /// Follows redirects from `url` until one leads to `end`; that address.
  async walk(url, end) {
    let at = url;
    for (let steps = 0; steps < 10; steps++) {
      const answer = await this.get(at);
      const location = answer.headers.get('location');
      if (!location) throw new Error(`${at}: ${answer.status} ${await answer.text()}`);
      at = new URL(location, at).href;
      if (at.startsWith(end)) return at;
    }
    throw new Error(`never came to ${end}`);
  }
}
