// Clients that are no Node packages, behind the verbs of node_clients.mjs: the OpenAI SDK for Python, and curl.
import { spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { checkout } from '../../harness/machine.mjs';
import { pythonWith } from '../../harness/python_packages.mjs';
import { MODEL, PICTURE_CONTENT, QUESTION, TOOL } from './node_clients.mjs';

const here = path.join(checkout, 'tests/module/clients');
const VERBS = ['complete', 'stream', 'tool', 'picture', 'abort'];

/// A Python with exactly the packages of requirements.txt.
export const pythonWithPackages = () => path.join(pythonWith(path.join(here, 'requirements.txt'), 'clients'), 'python');

class PythonError extends Error {
  constructor({ status, message }) {
    super(message);
    this.status = status;
  }
}

/// The client, and close() to end its process.
export function startPythonClient() {
  const child = spawn(pythonWithPackages(), ['-u', path.join(here, 'openai_client.py')], { stdio: ['pipe', 'pipe', 'inherit'] });
  const waiting = [];
  createInterface({ input: child.stdout }).on('line', (line) => waiting.shift().resolve(JSON.parse(line)));
  child.on('exit', () => { for (const { reject } of waiting.splice(0)) reject(new Error('the Python client ended')); });
  const order = (verb, { url, key }) => new Promise((resolve, reject) => {
    waiting.push({ resolve, reject });
    const question = { text: QUESTION, picture: PICTURE_CONTENT, tool: TOOL };
    child.stdin.write(`${JSON.stringify({ verb, url, key, question })}\n`);
  });
  return {
    name: 'openai (Python)',
    statusOf: (error) => error.status,
    connect: (gate) => Object.fromEntries(VERBS.map((verb) => [verb, async () => {
      const { value, ...error } = await order(verb, gate);
      if (value === undefined && 'status' in error) throw new PythonError(error);
      return value;
    }])),
    close: () => child.stdin.end(),
  };
}

class CurlError extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

function runCurl({ url, key }, body, { until } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn('curl', ['--silent', '--no-buffer', '--retry', '3', '--write-out', '\n%{http_code}', `${url}/v1/chat/completions`,
      '--header', `Authorization: Bearer ${key}`, '--json', '@-'], { stdio: ['pipe', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (data) => {
      text += data;
      if (until && text.includes(until)) child.kill('SIGTERM');
    });
    child.on('error', reject);
    child.on('close', () => {
      if (until) return resolve(text);
      const at = text.lastIndexOf('\n');
      const status = Number(text.slice(at + 1));
      // Of a request that was repeated, the answers stand one after the other.
      const last = text.slice(0, at);
      if (status === 200) resolve(last);
      else reject(new CurlError(status, last));
    });
    child.stdin.end(JSON.stringify({ model: MODEL, messages: [{ role: 'user', content: QUESTION }], ...body }));
  });
}

const messageIn = (text) => JSON.parse(text.slice(text.lastIndexOf('{"id":"chatcmpl'))).choices[0].message;

export const curl = {
  name: 'curl',
  statusOf: (error) => error.status,
  connect: (gate) => ({
    complete: async () => messageIn(await runCurl(gate, {})).content,
    async stream() {
      const events = (await runCurl(gate, { stream: true })).split('\n').filter((line) => line.startsWith('data: {'));
      return events.map((line) => JSON.parse(line.slice(6)).choices[0]?.delta.content ?? '').join('');
    },
    async tool() {
      const call = messageIn(await runCurl(gate, { tools: [TOOL] })).tool_calls[0].function;
      return { name: call.name, arguments: JSON.parse(call.arguments) };
    },
    picture: async () => messageIn(await runCurl(gate, { messages: [{ role: 'user', content: PICTURE_CONTENT }] })).content,
    abort: () => runCurl(gate, { stream: true }, { until: 'sunny' }),
  }),
};
