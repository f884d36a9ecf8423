// A model server as clients know them: chat completions as JSON and as a stream, tool calls, and pictures it has seen.
// What it streams is kept byte for byte, so that a test can compare it with what the client got.
import { once } from 'node:events';
import http from 'node:http';

const USAGE = { prompt_tokens: 12, completion_tokens: 6, total_tokens: 18 };
const TOOL_ARGUMENTS = '{"city":"Ämsterdam"}';
export const WORDS = ['It', ' is', ' "sunny"', ' in', ' Ämsterdam', '.'];

const hasPicture = (messages) => messages.some(({ content }) => Array.isArray(content)
  && content.some(({ type, image_url }) => type === 'image_url' && image_url.url.startsWith('data:image/png;base64,')));

function messageFor({ tools, messages }) {
  if (tools?.length > 0) {
    return { finish: 'tool_calls', message: { role: 'assistant', content: null,
      tool_calls: [{ id: 'call_1', type: 'function', function: { name: tools[0].function.name, arguments: TOOL_ARGUMENTS } }] } };
  }
  return { finish: 'stop', message: { role: 'assistant', content: hasPicture(messages) ? 'I see a picture.' : WORDS.join('') } };
}

function deltasFor(body) {
  const { message } = messageFor(body);
  if (message.tool_calls) {
    const [call] = message.tool_calls;
    const part = (fragment) => ({ tool_calls: [{ index: 0, ...fragment }] });
    return [
      { role: 'assistant', content: null, ...part({ id: call.id, type: 'function', function: { name: call.function.name, arguments: '' } }) },
      ...TOOL_ARGUMENTS.match(/.{1,7}/g).map((text) => part({ function: { arguments: text } })),
    ];
  }
  const words = hasPicture(body.messages) ? ['I', ' see', ' a', ' picture', '.'] : WORDS;
  return [{ role: 'assistant', content: '' }, ...words.map((content) => ({ content }))];
}

/// The events of a stream, as text.
export function eventsFor(body) {
  const chunk = (over) => `data: ${JSON.stringify({ id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: body.model, ...over })}\n\n`;
  const events = deltasFor(body).map((delta) => chunk({ choices: [{ index: 0, delta, finish_reason: null }] }));
  events.push(chunk({ choices: [{ index: 0, delta: {}, finish_reason: messageFor(body).finish }] }));
  if (body.stream_options?.include_usage) events.push(chunk({ choices: [], usage: USAGE }));
  events.push('data: [DONE]\n\n');
  return events;
}

/// `paceMs` between two events; a client that leaves is counted.
export async function startModelEndpoint() {
  const seen = { requests: 0, left: 0, paceMs: 0 };
  const server = http.createServer((request, response) => {
    let text = '';
    request.on('data', (data) => { text += data; });
    request.on('end', async () => {
      if (request.method !== 'POST') return response.writeHead(200, { 'content-type': 'application/json' }).end('{"data":[]}');
      seen.requests++;
      response.on('close', () => { if (!response.writableEnded) seen.left++; });
      const body = JSON.parse(text);
      if (body.stream) return stream(response, body, seen);
      const { finish, message } = messageFor(body);
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({
        id: 'chatcmpl-1', object: 'chat.completion', created: 1, model: body.model,
        choices: [{ index: 0, message, finish_reason: finish }], usage: USAGE,
      }));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { seen, url: `http://127.0.0.1:${server.address().port}`, close: () => { server.close(); server.closeAllConnections?.(); } };
}

async function stream(response, body, seen) {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const event of eventsFor(body)) {
    if (response.destroyed) return;
    response.write(event);
    if (seen.paceMs > 0) await new Promise((resolve) => setTimeout(resolve, seen.paceMs));
  }
  response.end();
}
