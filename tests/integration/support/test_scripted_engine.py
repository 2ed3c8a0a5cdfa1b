"""The scripted engine behaves as the engines it stands for."""

from typing import Any

import aiohttp
import msgspec
import pytest

from llmjobs_testing.engine import ScriptedEngine
from llmjobs_testing.engine_script import Script
from llmjobs_testing.engine_text import (
    FIRST_GENERATED_ID,
    build_text,
    is_inside_character,
    parse_position_of_text,
)
from llmjobs_testing.waiting import eventually


async def stream(url: str, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(url + path, json={"model": "scripted", "stream": True, **body}) as response,
    ):
        assert response.status == 200, await response.text()
        lines = (await response.read()).decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [msgspec.json.decode(line.removeprefix("data: ")) for line in lines[:-2]]


CHAT = {"messages": [{"role": "user", "content": "tell me more"}]}
EXACT = {
    "return_token_ids": True,
    "stream_options": {"include_usage": True, "continuous_usage_stats": True},
}


async def test_a_chat_stream_has_vllms_shape() -> None:
    async with ScriptedEngine() as engine:
        chunks = await stream(
            engine.url, "/v1/chat/completions", {**CHAT, **EXACT, "max_tokens": 3}
        )
    assert len(chunks[0]["prompt_token_ids"]) == 4
    tokens = [chunk["choices"][0] for chunk in chunks[1:-1]]
    assert [choice["delta"]["content"] for choice in tokens] == ["t0 ", "t1 ", "t2 "]
    assert [choice["token_ids"] for choice in tokens] == [
        [FIRST_GENERATED_ID + i] for i in (0, 1, 2)
    ]
    assert tokens[-1]["finish_reason"] == "length"
    assert chunks[2]["usage"]["completion_tokens"] == 2
    assert chunks[-1]["usage"] == {
        "prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7
    }  # fmt: skip


async def test_a_completion_continues_from_token_ids() -> None:
    ids = [11, 12, *range(FIRST_GENERATED_ID, FIRST_GENERATED_ID + 5)]
    async with ScriptedEngine() as engine:
        chunks = await stream(
            engine.url, "/v1/completions", {**EXACT, "prompt": ids, "max_tokens": 30}
        )
    text = "".join(chunk["choices"][0]["text"] for chunk in chunks[:-1])
    assert build_text(5) + text == build_text(16)
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["usage"]["prompt_tokens"] == 7


async def test_lost_tokens_in_a_continuation_are_refused() -> None:
    async with ScriptedEngine() as engine, aiohttp.ClientSession() as session:
        body = {"model": "scripted", "prompt": [11, FIRST_GENERATED_ID + 1]}
        async with session.post(engine.url + "/v1/completions", json=body) as response:
            assert response.status == 400


@pytest.mark.parametrize("cut", [1, 4, 5, 40, 41, 100])
async def test_a_chat_continues_from_any_place_in_its_text(cut: int) -> None:
    whole = build_text(60, 7)
    messages = [*CHAT["messages"], {"role": "assistant", "content": whole[:cut]}]
    body = {"messages": messages, "continue_final_message": True, "seed": 7}
    async with ScriptedEngine(default=Script(tokens=60)) as engine:
        chunks = await stream(engine.url, "/v1/chat/completions", body)
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert whole[:cut] + text == whole


async def test_a_stop_string_is_cut_and_its_beginning_held_back() -> None:
    async with ScriptedEngine(default=Script(tokens=60)) as engine:
        chunks = await stream(engine.url, "/v1/chat/completions", {**CHAT, "stop": ["t2 t3"]})
    texts = [chunk["choices"][0]["delta"]["content"] for chunk in chunks]
    assert "".join(texts) == "t0 t1 "
    assert texts[1] == ""


async def test_a_client_that_leaves_is_seen_at_once() -> None:
    async with ScriptedEngine(default=Script(stall_at=2)) as engine:
        async with aiohttp.ClientSession() as session:
            body = {"model": "scripted", "stream": True, **CHAT}
            async with session.post(engine.url + "/v1/chat/completions", json=body) as response:
                await response.content.readany()
                assert engine.open_streams == 1
        await eventually(lambda: not engine.open_streams, what="the engine sees the client gone")
    assert [seen.outcome for seen in engine.seen] == ["aborted"]


async def test_a_refusal_happens_as_often_as_scripted() -> None:
    script = {"status": 429, "retry_after": "1", "times": 1, "key": "a"}
    async with ScriptedEngine() as engine, aiohttp.ClientSession() as session:
        answers = []
        for _ in range(2):
            body = {"model": "scripted", "script": script, **CHAT}
            async with session.post(engine.url + "/v1/chat/completions", json=body) as response:
                answers.append((response.status, response.headers.get("Retry-After")))
    assert answers == [(429, "1"), (200, None)]


def test_positions_in_the_text_are_found_again() -> None:
    for count in range(40):
        if not is_inside_character(count):
            found, rest = parse_position_of_text(build_text(count, 3), 3)
            assert (found, rest) == (count, "")
