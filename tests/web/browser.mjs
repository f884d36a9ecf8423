// Debian's Chromium as the page suites use it: one browser a file, a page of its own for each test, and a list of everything
// that the browser complained about. A complaint is an error, a refused resource, a breach of the content security policy
// or a request to anybody but the stack under test (B16, B18): no test may leave one.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const axePath = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const AXE_TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
export const OWNER = 'ada@example.edu';  // the stack's dev_user
const DEADLINE = 60_000;  // of waits: a busy machine is slow, a broken page is for ever

export class Browser {
  /// `stack`: as startStack made it.
  static async launch(stack) {
    const browser = await chromium.launch({
      executablePath: '/usr/bin/chromium',
      timeout: DEADLINE,
      args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
        '--disable-component-update', '--disable-sync', '--disable-extensions', '--js-flags=--expose-gc'],
    });
    return new Browser(stack, browser);
  }

  constructor(stack, chromiumBrowser) {
    Object.assign(this, { stack, chromium: chromiumBrowser, complaints: [], cookies: [] });
  }

  /// A fresh page: its complaints are listed from here on. `path`: goes there; `signedIn`: with the owner's session.
  async open(path, { width = 1280, height = 900, colorScheme = 'light', signedIn = true, ready, ...context } = {}) {
    await this.page?.context().close().catch(() => {});
    const fresh = await this.chromium.newContext({ viewport: { width, height }, colorScheme, ...context });
    fresh.setDefaultTimeout(DEADLINE);
    if (signedIn) await fresh.addCookies(await this.#session());
    this.page = await fresh.newPage();
    this.watch(this.page);
    if (path) await this.go(path, ready);
    return this.page;
  }

  watch(page) {
    this.complaints = [];
    this.requests = [];
    page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) this.complaints.push(message.text()); });
    page.on('pageerror', (error) => this.complaints.push(error.message));
    page.on('request', (request) => {
      this.requests.push(request.url());
      if (!request.url().startsWith(this.stack.url) && !/^(data|blob):/.test(request.url())) this.complaints.push(`request to ${request.url()}`);
    });
  }

  /// Goes there and waits until the page's script has drawn it.
  async go(path, ready = 'main[data-filled] h1, main:not(.app) h1') {
    await this.page.goto(this.stack.url + path, { timeout: DEADLINE });
    await this.page.locator(ready).first().waitFor();
    await this.page.locator('#top[data-filled]').waitFor();
  }

  /// Who is signed in and has a budget sees the balance in the header, which comes after the page is drawn.
  balanceShown() { return this.page.locator('header .purse').waitFor(); }

  /// The address as the page has made it: it is told of a moment after what made it.
  address(pattern) { return this.page.waitForURL(pattern); }

  /// Signs the owner in once; every page gets the cookie.
  async #session() {
    if (this.cookies.length === 0) {
      const answer = await fetch(`${this.stack.url}/api/v1/devlogin`, { method: 'POST', redirect: 'manual', headers: { origin: this.stack.url } });
      assert.equal(answer.status, 303, 'the owner can sign in');
      const [name, value] = /^([^=]+)=([^;]*)/.exec(answer.headers.get('set-cookie')).slice(1);
      this.cookies = [{ name, value, url: this.stack.url, httpOnly: true, sameSite: 'Lax' }];
    }
    return this.cookies;
  }

  /// REST as the signed-in owner: {status, headers, body}.
  async rest(method, path, body, headers = {}) {
    const [{ name, value }] = await this.#session();
    const answer = await fetch(`${this.stack.url}/api/v1${path}`, {
      method,
      redirect: 'manual',
      headers: { cookie: `${name}=${value}`, origin: this.stack.url, ...(body ? { 'content-type': 'application/json' } : {}), ...headers },
      body: body && JSON.stringify(body),
    });
    const text = await answer.text();
    return { status: answer.status, headers: answer.headers, body: /json/.test(answer.headers.get('content-type') ?? '') ? JSON.parse(text) : text };
  }

  tile(name) {
    return this.page.locator('.tile', { has: this.page.locator('dt', { hasText: new RegExp(`^${name}`) }) }).locator('dd');
  }

  noComplaints() {
    assert.deepEqual(this.complaints, [], 'the browser complained');
  }

  /// B10: nothing is wider than the screen.
  async fits(what) {
    const [wide, screen] = await this.page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
    assert.equal(wide, screen, `${what} is wider than the screen`);
  }

  /// B1: axe with the named tags finds nothing.
  async axe(what) {
    // It comes in over the debugger, past the page's own policy.
    const client = await this.page.context().newCDPSession(this.page);
    await client.send('Runtime.evaluate', { expression: readFileSync(axePath, 'utf8') });
    const { violations } = await this.page.evaluate((tags) => globalThis.axe.run({ runOnly: { type: 'tag', values: tags } }), AXE_TAGS);
    const findings = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target.join(' ')} (${node.any[0]?.message ?? ''})`).slice(0, 3).join(', ')}`);
    assert.deepEqual(findings, [], what);
    await client.detach();
  }

  /// B2: every stop of the Tab key can be seen: on the screen, not cut off, outlined. How many there were.
  async tabWalk(what, most = 200) {
    await this.page.evaluate(() => { document.activeElement?.blur(); getSelection()?.removeAllRanges(); scrollTo(0, 0); });
    const seen = new Set();
    for (let stop = 0; stop < most; stop++) {
      await this.page.keyboard.press('Tab');
      const found = await this.page.evaluate(() => {
        const element = document.activeElement;
        if (!element || element === document.body) return null;
        element.dataset.walk ??= String(document.querySelectorAll('[data-walk]').length);
        const box = element.getBoundingClientRect();
        const style = getComputedStyle(element);
        const middle = document.elementFromPoint(Math.min(innerWidth - 1, Math.max(0, box.left + box.width / 2)), Math.min(innerHeight - 1, Math.max(0, box.top + box.height / 2)));
        return {
          id: element.dataset.walk,
          name: `${element.tagName} ${element.getAttribute('aria-label') ?? element.textContent.slice(0, 30)}`,
          visible: box.width > 1 && box.height > 1 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
          onTop: middle !== null && (element.contains(middle) || middle.contains(element)),
          outlined: style.outlineStyle !== 'none' && style.outlineWidth !== '0px',
        };
      });
      if (found === null || seen.has(found.id)) break;
      seen.add(found.id);
      assert.ok(found.visible && found.onTop && found.outlined, `${what}: the stop at ${found.name} cannot be seen: ${JSON.stringify(found)}`);
    }
    return seen.size;
  }

  async close() {
    await this.page?.context().close().catch(() => {});
    await this.chromium.close();
  }
}
