import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmjobs_core.errors import InvalidCursor
from llmjobs_core.jobs import BatchLine
from llmjobs_core.store import decode, encode


@given(st.lists(st.integers(min_value=0, max_value=2**32 - 1)))
def test_packed_token_ids_come_back(ids: list[int]) -> None:
    assert encode.unpack_ids(encode.pack_ids(ids)) == tuple(ids)


@given(custom_id=st.text(min_size=1), body=st.binary(), cost=st.integers(1, 10**9))
def test_batch_line_survives_storage(custom_id: str, body: bytes, cost: int) -> None:
    line = BatchLine(custom_id, "/v1/completions", body, cost=cost)
    assert encode.parse_line(encode.line_blob(line)) == line


def test_cursor_comes_back_as_the_bound_after_its_job() -> None:
    assert decode.parse_cursor(decode.build_cursor("job-0abc")) == "(job-0abc"


@pytest.mark.parametrize("cursor", ["x", "!!!", "MQ", decode.build_cursor("zzz")])
def test_foreign_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        decode.parse_cursor(cursor)
