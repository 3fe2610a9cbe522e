"""The chat server of testkit, as the official client of OpenAI reads it: chat.py <command of the server>"""

import subprocess
import sys

import openai

TEXT = "Héllo, 世界 👩‍👩‍👧\r\n\ndata: [DONE]"
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]

server = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
client = openai.OpenAI(base_url=server.stdout.readline().strip(), api_key="a-key-for-trying", max_retries=0)


def script(name):
    server.stdin.write(f"{name}\n")
    server.stdin.flush()
    assert server.stdout.readline() == "ready\n"


def whole():
    return client.chat.completions.create(model="model-1", messages=MESSAGES, max_tokens=50)


def stream(**options):
    return client.chat.completions.create(model="model-1", messages=MESSAGES, max_tokens=50, stream=True, **options)


def tokens(usage):
    return usage and (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)


def read(chunks):
    """Text, reason, usage and number of chunks with text."""
    texts, reason, usage = [], None, None
    for chunk in chunks:
        assert chunk.object == "chat.completion.chunk" and chunk.model == "model-1"
        assert usage is None, "something follows the usage"
        usage = chunk.usage
        for choice in chunk.choices:
            texts.append(choice.delta.content or "")
            reason = choice.finish_reason or reason
    return "".join(texts), reason, tokens(usage), len([text for text in texts if text])


def expect(found, expected):
    assert found == expected, f"{found} instead of {expected}"


with_usage = {"stream_options": {"include_usage": True}}
for name, reason, usage in [
    ("reply", "stop", (12, 6, 18)),
    ("crlf", "stop", (12, 6, 18)),
    ("bytes", "stop", (12, 6, 18)),
    ("length", "length", (12, 6, 18)),
    ("no usage", "stop", None),
]:
    script(name)
    answer = whole()
    choice = answer.choices[0]
    expect((choice.message.role, choice.message.content), ("assistant", TEXT))
    expect((choice.finish_reason, tokens(answer.usage)), (reason, usage))
    expect(read(stream(**with_usage)), (TEXT, reason, usage, 6))
    expect(read(stream()), (TEXT, reason, None, 6))

script("tools")
calls = [("call_1", "weather", '{"city":"北京"}'), ("call_2", "time", "{}")]
answer = whole().choices[0]
expect([(call.id, call.function.name, call.function.arguments) for call in answer.message.tool_calls], calls)
expect((answer.finish_reason, answer.message.content), ("tool_calls", None))
with client.beta.chat.completions.stream(model="model-1", messages=MESSAGES, **with_usage) as events:
    final = events.get_final_completion()
assembled = final.choices[0].message.tool_calls
expect([(call.id, call.function.name, call.function.arguments) for call in assembled], calls)
expect(tokens(final.usage), (12, 6, 18))

script("failure")
chunks, texts = stream(), []
try:
    for chunk in chunks:
        texts.append(chunk.choices[0].delta.content or "")
    sys.exit("the failure within the stream is not reported")
except openai.APIError as error:
    expect((error.message, "".join(texts)), ("overloaded", TEXT))

script("cut")
try:
    read(stream())
    sys.exit("the cut stream is not reported")
except openai.APIConnectionError:
    pass

script("busy")
for call in [whole, stream]:
    try:
        call()
        sys.exit("the status is not reported")
    except openai.RateLimitError as error:
        expect((error.code, error.response.headers["retry-after"]), ("rate_limit_exceeded", "7"))

server.stdin.close()
expect(server.wait(), 0)
