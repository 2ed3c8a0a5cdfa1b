"""How a batch is read to be run again."""

from types import SimpleNamespace
from typing import Any, cast

from llmjobs_api.retrying import LINES_AT_ONCE, _unfinished_lines
from llmjobs_core.jobs import BatchLine, Counts, JobKind
from llmjobs_testing.records import make_record


class Lines:
    """A store that notes how much is asked for at once."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def fetch_results(self, job_id: str, start: int, count: int) -> list[None]:
        self.asked.append(count)
        return [None] * count

    async def fetch_lines(self, job_id: str, start: int, count: int) -> list[BatchLine]:
        return [BatchLine(str(n), "/v1/completions", b"{}") for n in range(start, start + count)]


async def test_a_large_batch_is_never_held_whole() -> None:
    store = Lines()
    gateway = cast("Any", SimpleNamespace(store=store))
    record = make_record(kind=JobKind.BATCH, counts=Counts(total=50_000))
    lines = [line async for part in _unfinished_lines(gateway, record) for line in part]
    assert [line.custom_id for line in lines] == [str(n) for n in range(50_000)]
    assert max(store.asked) == LINES_AT_ONCE <= 1000
