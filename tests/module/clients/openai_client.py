"""The OpenAI SDK for Python behind the verbs of node_clients.mjs: a line of JSON in, a line of JSON out."""
import json
import sys

import openai

MODEL = "worldly"


def ask(client, question, **over):
    messages = [{"role": "user", "content": question["picture"] if over.pop("picture", False) else question["text"]}]
    return client.chat.completions.create(model=MODEL, messages=messages, **over)


def complete(client, question):
    return ask(client, question).choices[0].message.content


def stream(client, question):
    return "".join(chunk.choices[0].delta.content or "" for chunk in ask(client, question, stream=True) if chunk.choices)


def tool(client, question):
    messages = [{"role": "user", "content": question["text"]}]
    with client.chat.completions.stream(model=MODEL, messages=messages, tools=[question["tool"]]) as events:
        for _ in events:
            pass
        call = events.get_final_completion().choices[0].message.tool_calls[0].function
    return {"name": call.name, "arguments": json.loads(call.arguments)}


def picture(client, question):
    return ask(client, question, picture=True).choices[0].message.content


def abort(client, question):
    with ask(client, question, stream=True) as chunks:
        for chunk in chunks:
            if chunk.choices and chunk.choices[0].delta.content:
                break


VERBS = {verb.__name__: verb for verb in (complete, stream, tool, picture, abort)}


def answer(order):
    client = openai.OpenAI(base_url=order["url"] + "/v1", api_key=order["key"])
    try:
        return {"value": VERBS[order["verb"]](client, order["question"])}
    except openai.APIError as error:
        return {"status": getattr(error, "status_code", None), "message": str(error)}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
