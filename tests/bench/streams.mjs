// Many streams open at once, each past its first event.
import http from 'node:http';

const body = JSON.stringify({ model: 'demo', stream: true, messages: [{ role: 'user', content: 'Tell me a long story.' }] });

function makeRequests(url, key, count) {
  const { hostname, port } = new URL(url);
  const agent = new http.Agent({ maxSockets: Infinity });
  return Array.from({ length: count }, () => http.request({
    hostname, port, agent, method: 'POST', path: '/v1/chat/completions',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
  }));
}

/// Reads `count` streams side by side to their ends: how many chunks came.
export async function readStreams(url, key, count) {
  const counts = await Promise.all(makeRequests(url, key, count).map((request) => new Promise((resolve, reject) => {
    request.on('error', reject);
    request.on('response', (response) => {
      if (response.statusCode !== 200) reject(new Error(`a stream was answered with ${response.statusCode}`));
      let text = '';
      response.setEncoding('latin1').on('data', (part) => { text += part; }).on('error', reject);
      response.on('end', () => resolve(text.split('data: ').length - 1));
    });
    request.end(body);
  })));
  return counts.reduce((sum, chunks) => sum + chunks, 0);
}

/// Resolves when all of them have sent something; close() leaves them.
export async function openStreams(url, key, count) {
  const requests = makeRequests(url, key, count);
  await Promise.all(requests.map((request) => new Promise((resolve, reject) => {
    request.on('error', reject);
    request.on('response', (response) => {
      if (response.statusCode !== 200) reject(new Error(`a stream was answered with ${response.statusCode}`));
      response.once('data', resolve);
      response.resume();
      response.on('error', () => {});
    });
    request.end(body);
  })));
  return { close: () => { for (const request of requests) request.destroy(); } };
}
