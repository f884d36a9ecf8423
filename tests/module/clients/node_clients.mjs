// Real clients, unmodified, each behind the same few verbs. `connect({url, key})` gives
//   complete() → text     stream() → text      tool() → {name, arguments}      picture() → text
//   abort(): begins a stream and leaves it after its first words
// and what goes wrong is thrown as the client throws it; `statusOf(error)` is the HTTP status in it.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import Anthropic from '@anthropic-ai/sdk';
import { ChatOpenAI } from '@langchain/openai';
import { generateText, jsonSchema, streamText, tool } from 'ai';
import OpenAI from 'openai';

const MODEL = 'worldly';
const QUESTION = 'How is the weather in Ämsterdam?';
// One transparent pixel.
export const PICTURE = 'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const CITY = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false };
const TOOL = { type: 'function', function: { name: 'weather', description: 'The weather in a city', parameters: CITY } };
const PICTURE_CONTENT = [{ type: 'text', text: 'What is this?' }, { type: 'image_url', image_url: { url: PICTURE } }];

const openai = {
  name: 'openai (Node)',
  statusOf: (error) => error.status,
  connect({ url, key }) {
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key });
    const ask = (over) => client.chat.completions.create({ model: MODEL, messages: [{ role: 'user', content: QUESTION }], ...over });
    return {
      complete: async () => (await ask({})).choices[0].message.content,
      async stream() {
        let text = '';
        for await (const chunk of await ask({ stream: true })) text += chunk.choices[0]?.delta.content ?? '';
        return text;
      },
      async tool() {
        const runner = client.chat.completions.stream({ model: MODEL, messages: [{ role: 'user', content: QUESTION }], tools: [TOOL] });
        const { choices: [{ message }] } = await runner.finalChatCompletion();
        const call = message.tool_calls[0].function;
        return { name: call.name, arguments: JSON.parse(call.arguments) };
      },
      picture: async () => (await ask({ messages: [{ role: 'user', content: PICTURE_CONTENT }] })).choices[0].message.content,
      async abort() {
        const stream = await ask({ stream: true });
        for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break;
        stream.controller.abort();
      },
    };
  },
};

const vercel = {
  name: 'ai (Vercel)',
  // After retries it wraps the last error.
  statusOf: (error) => (error.lastError ?? error).statusCode,
  connect({ url, key }) {
    const model = createOpenAICompatible({ name: 'lumen', baseURL: `${url}/v1`, apiKey: key })(MODEL);
    // It ends a stream that failed like any other, and tells the error apart.
    const textOf = async (options, onText = () => {}) => {
      let failure;
      let text = '';
      for await (const part of streamText({ model, prompt: QUESTION, onError: ({ error }) => { failure = error; }, ...options }).textStream) {
        text += part;
        onText();
      }
      if (failure) throw failure;
      return text;
    };
    const tools = { weather: tool({ description: 'The weather in a city', inputSchema: jsonSchema(CITY) }) };
    return {
      complete: async () => (await generateText({ model, prompt: QUESTION })).text,
      stream: () => textOf({}),
      async tool() {
        const [call] = await streamText({ model, prompt: QUESTION, tools }).toolCalls;
        return { name: call.toolName, arguments: call.input };
      },
      picture: async () => (await generateText({ model, messages: [{ role: 'user', content: [
        { type: 'text', text: 'What is this?' }, { type: 'image', image: PICTURE }] }] })).text,
      async abort() {
        const controller = new AbortController();
        try {
          await textOf({ abortSignal: controller.signal }, () => controller.abort());
        } catch (error) {
          if (error.name !== 'AbortError') throw error;
        }
      },
    };
  },
};

const langchain = {
  name: 'langchain',
  statusOf: (error) => error.status,
  connect({ url, key }) {
    const model = new ChatOpenAI({ model: MODEL, apiKey: key, configuration: { baseURL: `${url}/v1` }, maxRetries: 3 });
    return {
      complete: async () => (await model.invoke(QUESTION)).content,
      async stream() {
        let text = '';
        for await (const chunk of await model.stream(QUESTION)) text += chunk.content;
        return text;
      },
      async tool() {
        const { tool_calls: [call] } = await model.bindTools([TOOL]).invoke(QUESTION);
        return { name: call.name, arguments: call.args };
      },
      picture: async () => (await model.invoke([{ role: 'user', content: PICTURE_CONTENT }])).content,
      async abort() {
        const controller = new AbortController();
        try {
          for await (const chunk of await model.stream(QUESTION, { signal: controller.signal })) if (chunk.content) controller.abort();
        } catch (error) {
          if (!/abort/i.test(`${error.name} ${error.message}`)) throw error;
        }
      },
    };
  },
};

const anthropic = {
  name: '@anthropic-ai/sdk',
  statusOf: (error) => error.status,
  connect({ url, key }) {
    const client = new Anthropic({ baseURL: url, apiKey: key });
    const question = (over) => ({ model: MODEL, max_tokens: 100, messages: [{ role: 'user', content: QUESTION }], ...over });
    return {
      complete: async () => (await client.messages.create(question({}))).content[0].text,
      stream: () => client.messages.stream(question({})).finalText(),
      async tool() {
        const tools = [{ name: 'weather', description: 'The weather in a city', input_schema: CITY }];
        const { content } = await client.messages.stream(question({ tools })).finalMessage();
        const call = content.find(({ type }) => type === 'tool_use');
        return { name: call.name, arguments: call.input };
      },
      async picture() {
        const source = { type: 'base64', media_type: 'image/png', data: PICTURE.split(',')[1] };
        const messages = [{ role: 'user', content: [{ type: 'text', text: 'What is this?' }, { type: 'image', source }] }];
        return (await client.messages.create(question({ messages }))).content[0].text;
      },
      async abort() {
        const stream = await client.messages.create(question({ stream: true }));
        for await (const event of stream) if (event.type === 'content_block_delta') break;
        stream.controller.abort();
      },
    };
  },
};

export const nodeClients = [openai, vercel, langchain, anthropic];
export { MODEL, QUESTION, PICTURE_CONTENT, TOOL };
