// What every page shares (spec/ui.md P3–P6, H1, H2, T1–T4, B15, B18–B21): announcement, footer, themes, help, error pages,
// sign-in, headers; in Chromium against a whole Lumen.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { contrastProblems, themeCss, themes } from '../../admind/web/themes.mjs';
import { checkout, waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { Browser, OWNER } from './browser.mjs';

const ANNOUNCEMENT = '<p>Lumen has been <b>updated</b>, please send email to help@ncsa.illinois.edu with subject Lumen if you have questions.</p>';
const PAGES = ['/profile', '/models', '/models/demo', '/connect', '/sign-in', '/help', '/help/profile', '/nothing-here'];

let stack;
let browser;
let page;

before(async () => {
  stack = await startStack({
    name: 'shell',
    settings: {
      app: {
        name: 'Lumen', tagline: 'A test of it', announcement: ANNOUNCEMENT, theme: 'illinois', email_themes: { '@uis.edu': 'uis' }, avatar: 'initials',
        support: { address: 'help@ncsa.illinois.edu', subject: 'Lumen' }, github_url: 'https://github.com/ncsa/lumen',
        footer_links: [{ label: 'Our Rules', url: 'https://example.edu/rules' }],
      },
    },
  });
  await stack.operator.createUser({ email: OWNER, name: 'Ada Lovelace', limits: { max: '50', refresh: '0', starting: '10', mode: 'soft' }, keyName: 'first' });
  browser = await Browser.launch(stack);
});
after(async () => {
  await browser?.close();
  await stack?.stop();
});
afterEach(() => {
  browser.complaints = browser.complaints.filter((text) => !/status of 404/.test(text));
  browser.noComplaints();
});

const banner = () => page.getByRole('complementary', { name: 'Announcement' });

test('P3 P4 the announcement is on every page until it is dismissed; a changed one shows again', async () => {
  page = await browser.open('/help');
  for (const where of PAGES) {
    await browser.go(where);
    assert.match(await banner().innerText(), /Lumen has been updated, please send email to/, where);
    assert.equal(await banner().locator('b').innerText(), 'updated');
    assert.equal(await banner().getByRole('link', { name: 'help@ncsa.illinois.edu' }).getAttribute('href'), 'mailto:help@ncsa.illinois.edu?subject=Lumen');
  }
  await banner().getByRole('button', { name: 'Dismiss announcement' }).click();
  await banner().waitFor({ state: 'detached' });
  await browser.go('/profile');
  assert.equal(await banner().count(), 0);
  stack.writeSettings({ app: { announcement: 'Another <script>alert(1)</script>one' } });
  await waitFor('the new announcement', async () => (await (await fetch(`${stack.url}/api/v1/site`)).json()).announcement.startsWith('Another'));
  await browser.go('/profile');
  assert.match(await banner().innerText(), /Another one/);
  stack.writeSettings({});
  await waitFor('the old announcement', async () => (await (await fetch(`${stack.url}/api/v1/site`)).json()).announcement === ANNOUNCEMENT);
});

test('P5 the footer has the house, the name, the theme\'s links and the configured ones', async () => {
  page = await browser.open('/models');
  const footer = page.getByRole('contentinfo');
  assert.deepEqual((await footer.innerText()).split('\n').map((text) => text.trim()).filter(Boolean),
    ['National Center for Supercomputing Applications', 'Lumen', 'Illinois Computes', 'Our Rules', 'GitHub Repository', 'Request Feature']);
  assert.equal(await footer.getByRole('link', { name: 'Request Feature' }).getAttribute('href'), 'https://github.com/ncsa/lumen/issues');
});

/// Status of a GET of exactly this path: fetch would tidy it up first.
function rawStatus(target) {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(stack.url);
    http.get({ hostname, port, path: target, agent: false }, (answer) => resolve(answer.resume().statusCode)).on('error', reject);
  });
}

test('P6 H1 H2 help has the seed\'s page with its headings and tables; every link on it leads somewhere', async () => {
  const seedHeadings = ['Profile & API Keys', 'Profile Card', 'Coin Pool Values', 'Web Chat Usage', 'API Keys', 'What an API Key Is', 'Creating a Key',
    'Viewing Your Keys', 'Revoking a Key', 'Model Access', 'Access Levels', 'Model Status'];
  const seedTables = [['Tile', 'Description'], ['Value', 'Meaning'], ['Column', 'Description'], ['Column', 'Description'], ['Column', 'Description'], ['Badge', 'Meaning'], ['Badge', 'Meaning']];
  page = await browser.open(undefined, { javaScriptEnabled: false });
  await page.goto(`${stack.url}/help/profile`);
  const headings = (await page.locator('article :is(h1, h2, h3)').allInnerTexts()).map((text) => text.replace(/\s*#$/, '').trim());
  assert.deepEqual(headings, seedHeadings, 'readable without JavaScript');
  const tables = await page.locator('article table').all();
  assert.deepEqual(await Promise.all(tables.map((table) => table.locator('th').allInnerTexts())), seedTables);
  const targets = new Set();
  for (const name of ['', '/profile', '/models', '/connect', '/api']) {
    const html = await (await fetch(`${stack.url}/help${name}`)).text();
    for (const [, href] of html.matchAll(/(?:href|src)="(\/[^"]*)"/g)) targets.add(href);
    for (const [, id] of html.matchAll(/href="#([^"]+)"/g)) assert.ok(html.includes(`id="${id}"`), `${name}#${id}`);
    if (name) assert.match(html, /aria-current="page"/);
  }
  for (const target of targets) {
    const [where, fragment] = target.split('#');
    const answer = await fetch(stack.url + where, { redirect: 'manual' });
    assert.ok([200, 302].includes(answer.status), `${target}: ${answer.status}`);
    if (fragment) assert.ok((await answer.text()).includes(`id="${fragment}"`), target);
  }
  for (const wrong of ['/help/nothing', '/help/..%2fprofile', '/help/../profile.html', '/help/profile/x', '/help/profile.html', '/help/%2e%2e/%2e%2e/etc/passwd'])
    assert.notEqual(await rawStatus(wrong), 200, wrong);
});

test('H1 help names the version', async () => {
  page = await browser.open('/help');
  assert.match(await page.locator('#about').innerText(), /^Lumen \d+\.\d+\.\d+/);
});

test('T1 T2 the theme is the site\'s, or the address\'s; unknown is the default; all of it comes from here', async () => {
  page = await browser.open('/help');
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'illinois');
  const header = () => page.locator('header').evaluate((element) => getComputedStyle(element).backgroundColor);
  assert.equal(await header(), 'rgb(19, 41, 75)');
  stack.writeSettings({ app: { email_themes: { '@example.edu': 'uis' } } });
  await waitFor('the address\'s theme', async () => (await browser.rest('GET', '/site')).body.theme === 'uis');
  assert.equal((await (await fetch(`${stack.url}/api/v1/site`)).json()).theme, 'illinois', 'not for others');
  await browser.go('/profile');
  assert.equal(await header(), 'rgb(0, 51, 102)');
  stack.writeSettings({ app: { theme: 'no-such-theme', email_themes: {} } });
  await waitFor('the default', async () => (await (await fetch(`${stack.url}/api/v1/site`)).json()).theme === 'default');
  stack.writeSettings({});
  await waitFor('the old theme', async () => (await (await fetch(`${stack.url}/api/v1/site`)).json()).theme === 'illinois');
});

test('T3 a theme that cannot be read is refused, with the pair named', () => {
  for (const [name, theme] of Object.entries(themes)) assert.deepEqual(contrastProblems(name, theme), []);
  const pale = { ...themes.default, light: { ...themes.default.light, accent: '#f0b94f' } };
  assert.throws(() => themeCss({ pale }), /theme pale, light: accent #f0b94f on page #f6f6f4 has a contrast of 1\.\d\d; 4\.5 is the least/);
});

test('T4 navigation by role: only pages that exist; the sign-in page stands alone', async () => {
  page = await browser.open('/profile');
  const links = () => page.getByRole('navigation', { name: 'Main' }).getByRole('link').allInnerTexts();
  assert.deepEqual(await links(), ['Profile', 'Models', 'Connect', 'Help']);
  assert.equal(await page.getByRole('link', { name: 'Profile', exact: true }).getAttribute('aria-current'), 'page');
  for (const href of await page.locator('header a').evaluateAll((all) => all.map((link) => link.getAttribute('href'))))
    assert.equal((await browser.rest('GET', `/../..${href}`)).status, 200, href);
  page = await browser.open('/sign-in', { signedIn: false });
  assert.deepEqual(await links(), ['Models', 'Connect', 'Help']);
  await page.getByText('A test of it').waitFor();
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
});

test('T4 B21 signing out ends the session, and is a POST', async () => {
  page = await browser.open('/profile', { signedIn: false, ready: '.sign-in' });
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.waitForURL(`${stack.url}/profile`);
  const cookies = await page.context().cookies();
  await page.getByRole('button', { name: 'Sign out' }).waitFor();
  await page.waitForFunction(() => [...document.images].every((image) => image.complete));  // the picture is asked for by who is signed in
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.waitForURL(`${stack.url}/sign-in`);
  const session = cookies.find(({ name }) => name === 'lumen_session');
  assert.ok(session.httpOnly && session.sameSite === 'Lax');
  const me = await fetch(`${stack.url}/api/v1/me`, { headers: { cookie: `lumen_session=${session.value}` } });
  assert.equal(me.status, 401);
  assert.equal((await fetch(`${stack.url}/api/v1/logout`)).status, 405);
});

test('T4 errors are pages of the theme for people, JSON for programs', async () => {
  const missing = await fetch(`${stack.url}/nothing-here`);
  assert.equal(missing.status, 404);
  assert.match(await missing.text(), /<h1>Nothing here<\/h1>/);
  for (const where of ['/api/v1/nothing', '/v1/nothing']) {
    const answer = await stack.fetch(where, { headers: where.startsWith('/api') ? { authorization: '' } : {} });
    assert.equal(answer.status, 404);
    assert.match(answer.headers.get('content-type'), /json/, where);
  }
  for (const status of [403, 404, 500]) assert.match(readFileSync(path.join(checkout, 'admind/web/dist', `${status}.html`), 'utf8'), /<h1>/);
  for (const name of ['403', '404', '500']) assert.equal((await fetch(`${stack.url}/${name}.html`)).status, 404, 'error pages are no addresses');
  page = await browser.open('/nothing-here');
  await page.getByRole('heading', { name: 'Nothing here' }).waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'illinois');
});

test('T4 while admind is away, programs get JSON and pages say so', async () => {
  await stack.server('admind').stop();
  const answer = await fetch(`${stack.url}/api/v1/me`);
  assert.equal(answer.status, 503);
  assert.match(answer.headers.get('content-type'), /problem\+json/);
  assert.equal((await answer.json()).code, 'unavailable');
  page = await browser.open(undefined);
  await page.goto(`${stack.url}/profile`);
  await page.getByRole('alert').filter({ hasText: 'Lumen is being restarted' }).waitFor();
  browser.complaints = browser.complaints.filter((text) => !/status of 503/.test(text));
  await stack.start('admind');
});

test('B18 B19 every page has the policy and its headers; what never changes is kept', async () => {
  for (const where of PAGES) {
    const answer = await fetch(stack.url + where, { redirect: 'manual' });
    if (answer.status === 302) continue;
    const policy = answer.headers.get('content-security-policy');
    for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "require-trusted-types-for 'script'", 'trusted-types lumen-md', "frame-ancestors 'none'"])
      assert.ok(policy.includes(part), `${where}: ${part}`);
    assert.ok(!/unsafe|\*/.test(policy));
    assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
    assert.equal(answer.headers.get('referrer-policy'), 'same-origin');
    assert.equal(answer.headers.get('cross-origin-opener-policy'), 'same-origin');
    assert.match(answer.headers.get('permissions-policy'), /camera=\(\)/);
    assert.equal(answer.headers.get('cache-control'), 'no-store');
    assert.equal(answer.headers.get('strict-transport-security'), null, 'no TLS, no promise');
    const html = await answer.text();
    assert.ok(!/<[^>]* (on\w+|style)=/.test(html), `${where}: no inline handlers or styles`);
    for (const [, asset] of html.matchAll(/"(\/assets\/[^"]+)"/g))
      assert.match((await fetch(stack.url + asset)).headers.get('cache-control'), /immutable/, asset);
  }
});

test('B20 what changes something needs our own origin and JSON', async () => {
  for (const [method, where, body] of [['POST', '/me/keys/draft', {}], ['POST', '/me/keys', {}], ['DELETE', '/me/keys/1'], ['POST', '/me/consents', {}], ['PATCH', '/me', { avatar: 'initials' }], ['POST', '/logout']]) {
    for (const headers of [{ origin: 'https://evil.example' }, { origin: 'null' }, { origin: '' }, { 'sec-fetch-site': 'cross-site' }, { 'sec-fetch-site': 'same-site' }]) {
      const answer = await browser.rest(method, where, body, headers);
      assert.equal(answer.status, 403, `${method} ${where} ${JSON.stringify(headers)}`);
      assert.equal(answer.body.code, 'csrf_rejected');
    }
  }
  assert.equal((await browser.rest('PATCH', '/me', { avatar: 'initials' }, { 'content-type': 'text/plain' })).status, 415);
});

test('B23 no page\'s source puts text where it could become markup', () => {
  for (const file of ['api.ts', 'markup.ts', 'shell.tsx', 'keys.tsx', 'key_dialog.tsx', 'model_access.tsx', 'profile.tsx', 'profile_card.tsx', 'models.tsx', 'model.tsx', 'connect.tsx', 'sign_in.tsx', 'static_page.tsx'])
    assert.ok(!/innerHTML|outerHTML|insertAdjacentHTML|document\.write|dangerouslySetInnerHTML|\beval\(/.test(readFileSync(path.join(checkout, 'admind/web/src', file), 'utf8')), file);
});
