// node tests/web/screenshots.mjs: takes the pictures of docs/screenshots anew, from a whole Lumen with some use in it. Each is a
// PNG of at most 256 colours. README and help show them; look at them after every change of the pages.
import { execFileSync } from 'node:child_process';
import { mkdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { checkout, waitFor } from '../harness/machine.mjs';
import { startStack } from '../harness/stack.mjs';
import { chatBody } from '../module/traffic.mjs';
import { Browser, OWNER } from './browser.mjs';

const folder = path.join(checkout, 'docs/screenshots');
const MOST_BYTES = 60 * 1024;

const models = ([server]) => {
  const model = (name, over) => ({ name, access: 'allowed', context_window: 131072, max_output_tokens: 8192, supports_function_calling: true, supports_reasoning: false,
    input_modalities: ['text'], output_modalities: ['text'], endpoints: [{ id: 'gpu1', url: `${server}/v1` }], ...over });
  return [
    model('gpt-oss-120b', { access: 'blocked', description: 'Large open-weight model for reasoning.' }),
    model('llama-3.3-70b', { needs_ack: true, ack_message: 'Answers may be **wrong**. Do not send personal data.', description: 'General-purpose chat model.',
      input_cost_per_million: 0.4, output_cost_per_million: 1.2, endpoints: [{ id: 'gpu1', url: `${server}/v1` }, { id: 'gpu2', url: 'http://127.0.0.1:9/v1' }] }),
    model('mistral-7b', { needs_ack: true, ack_message: 'For research only.', input_cost_per_million: 80, output_cost_per_million: 240, description: 'Small and quick.' }),
    model('phi-3.5-mini', { input_cost_per_million: 0.05, output_cost_per_million: 0.1, description: 'The smallest one.', endpoints: [{ id: 'gpu3', url: 'http://127.0.0.1:9/v1' }] }),
    model('qwen2.5-7b-instruct', { input_cost_per_million: 150, output_cost_per_million: 600, cached_input_cost_per_million: 75, description: 'Follows instructions; speaks many languages.', knowledge_cutoff: '2023-12' }),
    model('qwen2.5-vl', { input_modalities: ['text', 'image'], input_cost_per_million: 0.3, output_cost_per_million: 0.9, description: 'Sees pictures.' }),
    model('whisper-large-v3', { input_modalities: ['audio'], audio_cost_per_hour: 0.36, description: 'Writes down what is said.' }),
    model('slow', { disabled: true, output_cost_per_million: 1000, max_output_tokens: 350, endpoints: [{ id: 'gpu1', url: `${server}/misbehave/pace-200+tokens-300/v1` }] }),
  ];
};

const stack = await startStack({
  name: 'screenshots',
  models,
  settings: {
    app: {
      theme: 'illinois', avatar: 'initials', tagline: 'AI models for research', github_url: 'https://github.com/ncsa/lumen', support: { address: 'help@ncsa.illinois.edu', subject: 'Lumen' },
      announcement: 'Lumen has been updated, please send email to help@ncsa.illinois.edu with subject Lumen if you have questions. Certain models will need to be acknowledged before use (one time only).',
    },
    groups: { staff: {}, 'illinois-computes': {} },
    users: { [OWNER]: { groups: ['staff', 'illinois-computes'] } },
    health: { interval: 2, timeout: 2 },
  },
});
const browser = await Browser.launch(stack);
try {
  await prepare();
  await shoot();
} finally {
  await browser.close();
  await stack.stop();
}

/// A person with keys, some use, a forecast and a running request.
async function prepare() {
  const owner = await stack.operator.createUser({ email: OWNER, name: 'Ada Lovelace', limits: { max: '50', refresh: '0.1', starting: '21', mode: 'soft' }, keyName: 'jupyter-notebook' });
  const script = await stack.operator.createKey(owner.account, { name: 'my-research-script', budget: { coins: '5', period: 'week' } });
  await stack.operator.createKey(owner.account, { name: 'thesis-pipeline-on-the-cluster' });
  const old = await stack.operator.createKey(owner.account, { name: 'old-laptop' });
  await browser.rest('POST', '/me/consents', { model: 'mistral-7b', notice_version: 1 });
  const long = 'Tell me about the sea. '.repeat(150);
  for (let i = 0; i < 12; i++) {
    for (const [model, key] of [['qwen2.5-7b-instruct', owner.key], ['mistral-7b', script.key], ...(i < 2 ? [['qwen2.5-7b-instruct', old.key]] : [])]) {
      const answer = await stack.post('/v1/chat/completions', chatBody({ model, messages: [{ role: 'user', content: long }] }), { key });
      if (!answer.ok) throw new Error(await answer.text());
    }
  }
  await stack.operator.deleteKey(owner.account, old.id);
  await waitFor('the book to have it all', async () => (await browser.rest('GET', '/models/mistral-7b')).body.use.requests >= 12);
  await stack.sql("update usage_quarter set slot = slot - interval '3 hours' where account_id = :account", { account: owner.account });
  await waitFor('the probes', async () => {
    const { data } = (await browser.rest('GET', '/models')).body;
    return data.some(({ status }) => status === 'down') && data.some(({ status }) => status === 'degraded');
  });
}

async function shoot() {
  mkdirSync(folder, { recursive: true });
  const pages = {
    profile: ['/profile?deleted=1'],
    'new-key': ['/profile', async (page) => { await page.getByRole('button', { name: '+ New API Key' }).click(); await waitFor('the key', async () => (await page.getByLabel('Your new key').inputValue()) !== ''); await page.getByLabel('Name', { exact: true }).fill('jupyter-on-the-cluster'); }],
    models: ['/models'],
    model: ['/models/qwen2.5-7b-instruct'],
    connect: ['/connect?tab=python&model=qwen2.5-7b-instruct'],
    help: ['/help'],
    'sign-in': ['/sign-in', undefined, { signedIn: false }],
  };
  for (const [name, [where, act, options]] of Object.entries(pages)) {
    for (const width of [1280, 360]) {
      for (const colorScheme of ['light', 'dark']) {
        const page = await browser.open(where, { width, height: width === 360 ? 780 : 860, colorScheme, ...options });
        if (options?.signedIn !== false) await page.locator('header .purse').waitFor();
        await page.waitForFunction(() => [...document.images].every((image) => image.complete));
        await act?.(page);
        const file = path.join(folder, `${name}-${width}-${colorScheme}.png`);
        await page.screenshot({ path: file, fullPage: act === undefined && width === 1280 });
        shrink(file);
        if (act) await page.evaluate(() => document.querySelector('dialog')?.close());
      }
    }
  }
}

/// A palette instead of true colours: a quarter of the bytes, and nothing that an eye sees.
function shrink(file) {
  execFileSync('pngquant', ['--force', '--strip', '--skip-if-larger', '--quality=60-95', '--output', file, file]);
  const { size } = statSync(file);
  if (size > MOST_BYTES) throw new Error(`${file}: ${size} bytes`);
}
