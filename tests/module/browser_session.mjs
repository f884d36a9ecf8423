// A person's browser as far as REST goes: its cookie, and requests that come from a page of the site.
export class BrowserSession {
  /// `contract`: what answers are held against.
  constructor(url, cookie = '', contract = null) {
    Object.assign(this, { url, cookie, contract });
  }

  /// The configured development user, signed in.
  static async ofDevUser(stack) {
    const session = new BrowserSession(stack.url, '', stack.contract);
    const answer = await session.call('POST', '/devlogin');
    if (answer.status !== 303) throw new Error(`devlogin: ${answer.status} ${answer.text}`);
    return session;
  }

  /// {status, headers, text, body}; cookies that the answer sets are kept. `path`: below /api/v1.
  async call(method, path, body, headers = {}) {
    const answer = await fetch(`${this.url}/api/v1${path}`, {
      method, redirect: 'manual',
      headers: {
        origin: this.url,
        ...(this.cookie ? { cookie: this.cookie } : {}),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const session = answer.headers.getSetCookie().find((line) => line.startsWith('lumen_session='));
    if (session) [this.cookie] = session.split(';');
    const text = await answer.text();
    const json = /json/.test(answer.headers.get('content-type') ?? '') && text !== '';
    const seen = { status: answer.status, headers: answer.headers, text, body: json ? JSON.parse(text) : null };
    await this.contract?.check(method, `/api/v1${path}`, seen);
    return seen;
  }
}
