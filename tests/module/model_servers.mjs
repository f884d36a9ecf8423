// Model servers, plain or behind TLS, that a test can tell how to behave while they run, and that keep what they were asked
// and probed.
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { freePort } from '../harness/machine.mjs';
import { chatAnswer } from './scripted_endpoint.mjs';

/// {url, port, asked: [{at, url, headers, body}], probes: [{at, path}], sni, close()}. `behave(response, body)` answers, with
/// response.json(value, status) at hand; `probeStatus(path)` is what probes get.
export async function startModelServer({ tls } = {}) {
  const server = { asked: [], probes: [], sni: new Set(), behave: (response) => response.json(chatAnswer()) };
  const listener = (request, response) => {
    if (request.method === 'GET') {
      server.probes.push({ at: Date.now(), path: request.url });
      return response.writeHead(server.probeStatus?.(request.url) ?? 200, { 'content-type': 'application/json' }).end('{"data":[]}');
    }
    let text = '';
    request.on('data', (data) => { text += data; });
    request.on('end', () => {
      if (tls) server.sni.add(request.socket.servername);
      server.asked.push({ at: Date.now(), url: request.url, headers: request.headers, body: JSON.parse(text) });
      response.json = (json, status = 200) => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json));
      server.behave(response, JSON.parse(text));
    });
  };
  const make = () => (tls ? https.createServer(tls, listener) : http.createServer(listener));
  const listening = [];
  server.port = await freePort();
  for (const host of tls ? ['127.0.0.1', '::1'] : ['127.0.0.1']) {
    const one = make();
    one.keepAliveTimeout = 0;  // or a connection may be closed just as the gate uses it again
    one.listen(server.port, host);
    // A machine may have no IPv6.
    if (await Promise.race([once(one, 'listening').then(() => true), once(one, 'error').then(() => false)])) listening.push(one);
  }
  server.url = `http://127.0.0.1:${server.port}/v1`;
  server.close = () => { for (const one of listening) { one.close(); one.closeAllConnections?.(); } };
  return server;
}
