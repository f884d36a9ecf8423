// A model server as clients know them: OpenAI's chat completions and Anthropic's messages, as JSON and as streams, with
// tool calls and pictures it has seen.
import { once } from 'node:events';
import http from 'node:http';

const USAGE = { prompt_tokens: 12, completion_tokens: 6, total_tokens: 18 };
const TOOL_ARGUMENTS = '{"city":"Ämsterdam"}';
export const WORDS = ['It', ' is', ' "sunny"', ' in', ' Ämsterdam', '.'];

const isPicture = ({ type, image_url, source }) => (type === 'image_url' && image_url.url.startsWith('data:image/png;base64,'))
  || (type === 'image' && source.media_type === 'image/png');
const hasPicture = (messages) => messages.some(({ content }) => Array.isArray(content) && content.some(isPicture));

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
function eventsFor(body) {
  const chunk = (over) => `data: ${JSON.stringify({ id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: body.model, ...over })}\n\n`;
  const events = deltasFor(body).map((delta) => chunk({ choices: [{ index: 0, delta, finish_reason: null }] }));
  events.push(chunk({ choices: [{ index: 0, delta: {}, finish_reason: messageFor(body).finish }] }));
  if (body.stream_options?.include_usage) events.push(chunk({ choices: [], usage: USAGE }));
  events.push('data: [DONE]\n\n');
  return events;
}

// ---- Anthropic's dialect -------------------------------------------------------------------------------------------

const MESSAGE_USAGE = { input_tokens: USAGE.prompt_tokens, output_tokens: USAGE.completion_tokens, cache_creation_input_tokens: 0, cache_read_input_tokens: 0 };

function anthropicMessage(body) {
  const tool = body.tools?.[0]?.name;
  return {
    id: 'msg_1', type: 'message', role: 'assistant', model: body.model, stop_sequence: null,
    stop_reason: tool ? 'tool_use' : 'end_turn', usage: MESSAGE_USAGE,
    content: [tool ? { type: 'tool_use', id: 'toolu_1', name: tool, input: JSON.parse(TOOL_ARGUMENTS) }
      : { type: 'text', text: hasPicture(body.messages) ? 'I see a picture.' : WORDS.join('') }],
  };
}

function anthropicEvents(body) {
  const { content: [block], stop_reason, ...message } = anthropicMessage(body);
  const event = (type, over) => `event: ${type}\ndata: ${JSON.stringify({ type, ...over })}\n\n`;
  const deltas = block.type === 'tool_use'
    ? TOOL_ARGUMENTS.match(/.{1,7}/g).map((partial_json) => ({ type: 'input_json_delta', partial_json }))
    : (block.text === WORDS.join('') ? WORDS : [block.text]).map((text) => ({ type: 'text_delta', text }));
  return [
    event('message_start', { message: { ...message, content: [], stop_reason: null, usage: { ...MESSAGE_USAGE, output_tokens: 1 } } }),
    event('content_block_start', { index: 0, content_block: block.type === 'tool_use' ? { ...block, input: {} } : { type: 'text', text: '' } }),
    ...deltas.map((delta) => event('content_block_delta', { index: 0, delta })),
    event('content_block_stop', { index: 0 }),
    event('message_delta', { delta: { stop_reason, stop_sequence: null }, usage: { output_tokens: MESSAGE_USAGE.output_tokens } }),
    event('message_stop', {}),
  ];
}

/// `paceMs` between two events.
export async function startModelEndpoint() {
  const seen = { requests: 0, paceMs: 0 };
  const server = http.createServer((request, response) => {
    let text = '';
    request.on('data', (data) => { text += data; });
    request.on('end', async () => {
      if (request.method !== 'POST') return response.writeHead(200, { 'content-type': 'application/json' }).end('{"data":[]}');
      seen.requests++;
      const body = JSON.parse(text);
      const anthropic = request.url.endsWith('/messages');
      if (body.stream) return stream(response, anthropic ? anthropicEvents(body) : eventsFor(body), seen);
      if (anthropic) return response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(anthropicMessage(body)));
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

async function stream(response, events, seen) {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const event of events) {
    if (response.destroyed) return;
    response.write(event);
    if (seen.paceMs > 0) await new Promise((resolve) => setTimeout(resolve, seen.paceMs));
  }
  response.end();
}
