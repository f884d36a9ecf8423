// What /connect offers to copy: programs and configuration for one site and one model. Each of them is run against a gate
// in the tests (N6), so what stands here works.
import type { PublicModel } from './api';

/** The parts of a model that decide how it is called. */
export type Called = Pick<PublicModel, 'name' | 'input_modalities'>;

export type Call = 'text' | 'vision' | 'audio' | 'transcription';

/** Audio alone is transcribed; otherwise the richest input that the model takes is shown (N5). */
export function callOf(model: Called): Call {
  const takes = new Set(model.input_modalities);
  if (takes.has('audio') && takes.size === 1) return 'transcription';
  if (takes.has('image')) return 'vision';
  return takes.has('audio') ? 'audio' : 'text';
}

const picture = 'https://upload.wikimedia.org/wikipedia/commons/a/a5/Red_Kitten_01.jpg';
const question = 'Say hello in three languages.';

function messagesOf(call: Call): object[] {
  if (call === 'vision') {
    return [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'What is in this picture?' },
          { type: 'image_url', image_url: { url: picture } },
        ],
      },
    ];
  }
  if (call === 'audio') {
    return [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'What is said in this recording?' },
          { type: 'input_audio', input_audio: { data: 'BASE64_OF_YOUR_FILE', format: 'wav' } },
        ],
      },
    ];
  }
  return [{ role: 'user', content: question }];
}

/** What a person has to fill in, if anything. */
export function placeholderNote(call: Call): string | null {
  if (call === 'audio') return 'Put your recording in the place of BASE64_OF_YOUR_FILE: the bytes of a .wav or .mp3 file in Base64.';
  if (call === 'transcription') return 'recording.wav is a file of yours, in the folder where you run this.';
  return null;
}

/** Text for a shell between single quotes. */
function shellQuoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

export function curl(base: string, model: Called): string {
  const call = callOf(model);
  if (call === 'transcription') {
    return `curl ${base}/audio/transcriptions \\
  -H "Authorization: Bearer $LUMEN_API_KEY" \\
  -F ${shellQuoted(`model=${model.name}`)} \\
  -F file=@recording.wav
`;
  }
  const body = JSON.stringify({ model: model.name, messages: messagesOf(call) }, null, 2);
  return `curl ${base}/chat/completions \\
  -H "Authorization: Bearer $LUMEN_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d ${shellQuoted(body)}
`;
}

/** JSON is Python too, as long as it holds no true, false or null. */
function indented(value: unknown, by: number): string {
  return JSON.stringify(value, null, 4).replaceAll('\n', `\n${' '.repeat(by)}`);
}

export function python(base: string, model: Called): string {
  const call = callOf(model);
  const begin = `# pip install openai
import os

from openai import OpenAI

client = OpenAI(
    base_url=${JSON.stringify(base)},
    api_key=os.environ["LUMEN_API_KEY"],
)
`;
  if (call === 'transcription') {
    return `${begin}
with open("recording.wav", "rb") as recording:
    answer = client.audio.transcriptions.create(model=${JSON.stringify(model.name)}, file=recording)
print(answer.text)
`;
  }
  return `${begin}
answer = client.chat.completions.create(
    model=${JSON.stringify(model.name)},
    messages=${indented(messagesOf(call), 4)},
)
print(answer.choices[0].message.content)
`;
}

export function node(base: string, model: Called): string {
  const call = callOf(model);
  const begin = `// npm install openai
import OpenAI from "openai";
${call === 'transcription' ? 'import fs from "node:fs";\n' : ''}
const client = new OpenAI({
  baseURL: ${JSON.stringify(base)},
  apiKey: process.env.LUMEN_API_KEY,
});
`;
  if (call === 'transcription') {
    return `${begin}
const answer = await client.audio.transcriptions.create({
  model: ${JSON.stringify(model.name)},
  file: fs.createReadStream("recording.wav"),
});
console.log(answer.text);
`;
  }
  return `${begin}
const answer = await client.chat.completions.create({
  model: ${JSON.stringify(model.name)},
  messages: ${JSON.stringify(messagesOf(call), null, 2).replaceAll('\n', '\n  ')},
});
console.log(answer.choices[0].message.content);
`;
}

function openCodeModel(model: PublicModel): object {
  const price = (meter: string) => Number(model.prices[meter]?.coins ?? '0');
  return {
    name: model.name,
    ...(model.context_window !== null && model.max_output_tokens !== null
      ? { limit: { context: model.context_window, output: model.max_output_tokens } }
      : {}),
    cost: { input: price('input_per_million'), output: price('output_per_million'), cache_read: price('cached_per_million') },
    ...(model.supports_reasoning !== null ? { reasoning: model.supports_reasoning } : {}),
    ...(model.supports_function_calling !== null ? { tool_call: model.supports_function_calling } : {}),
    ...(model.input_modalities.includes('image') ? { attachment: true } : {}),
  };
}

/** OpenCode's configuration with every model that it can talk to; the key stays in the environment (N4). */
export function openCode(siteName: string, base: string, models: PublicModel[]): string {
  const talking = models.filter((model) => callOf(model) !== 'transcription');
  const config = {
    $schema: 'https://opencode.ai/config.json',
    provider: {
      lumen: {
        npm: '@ai-sdk/openai-compatible',
        name: siteName,
        options: { baseURL: base, apiKey: '{env:LUMEN_API_KEY}' },
        models: Object.fromEntries(talking.map((model) => [model.name, openCodeModel(model)])),
      },
    },
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}
