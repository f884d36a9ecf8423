// A model server that says exactly what a test wrote down, cut where the test wants it cut, and remembers what it was
// asked. The honest one is tests/harness/model_server; this one is for bytes that no server would send on purpose.
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';

/// Raw bytes as the answer to every request: `script.bytes`, of which `script.cutAfter` are sent before the connection
/// breaks (undefined: all, and it stays open). With `script.pause` = [at, ms] the rest comes that much later; with
/// `script.byByte` each byte in a segment of its own.
export async function startRawEndpoint() {
  const script = { bytes: '', cutAfter: undefined, pause: undefined, byByte: false, requests: 0, head: '' };
  const server = net.createServer((socket) => {
    let asked = '';
    socket.on('error', () => {});
    socket.on('data', (data) => {
      asked += data;
      const body = asked.indexOf('\r\n\r\n') + 4;
      const length = Number(/content-length: (\d+)/i.exec(asked)?.[1] ?? 0);
      if (body < 4 || Buffer.byteLength(asked.slice(body)) < length) return;
      script.head = asked.slice(0, body);
      asked = '';
      script.requests++;
      const bytes = Buffer.from(script.bytes);
      if (script.byByte) return sendByByte(socket, bytes);
      if (script.pause) return sendInTwo(socket, bytes, ...script.pause);
      if (script.cutAfter === undefined) socket.write(bytes);
      else socket.end(bytes.subarray(0, script.cutAfter));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { script, url: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

function sendByByte(socket, bytes) {
  socket.setNoDelay(true);
  for (let i = 0; i < bytes.length; i++) socket.write(bytes.subarray(i, i + 1));
}

function sendInTwo(socket, bytes, at, ms) {
  socket.write(bytes.subarray(0, at));
  setTimeout(() => socket.writable && socket.write(bytes.subarray(at)), ms);
}

/// Answers by a function of the request: (request, body) → {status, headers, json}; keeps what it was asked.
export async function startEndpoint(answer) {
  const asked = [];
  const server = http.createServer((request, response) => {
    let text = '';
    request.on('data', (data) => { text += data; });
    request.on('end', () => {
      // Probes of admind are no model calls.
      if (request.method !== 'POST') return response.writeHead(200, { 'content-type': 'application/json' }).end('{"data":[]}');
      asked.push({ url: request.url, headers: request.headers, body: JSON.parse(text) });
      const { status = 200, headers = {}, json } = answer(request, JSON.parse(text));
      response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(json));
    });
  });
  server.keepAliveTimeout = 0;  // or a connection may be closed just as the gate uses it again
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    asked, url: `http://127.0.0.1:${server.address().port}`,
    close: () => { server.close(); server.closeAllConnections?.(); },
  };
}

export const chatAnswer = (over = {}) => ({
  id: 'x', object: 'chat.completion', choices: [{ index: 0, message: { role: 'assistant', content: 'Yes.' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9 }, ...over,
});

/// A chunked HTTP answer, each of `parts` a chunk of its own.
export function chunkedAnswer(contentType, parts) {
  const chunks = parts.map((part) => `${Buffer.byteLength(part).toString(16)}\r\n${part}\r\n`).join('');
  return `HTTP/1.1 200 OK\r\nContent-Type: ${contentType}\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`;
}
