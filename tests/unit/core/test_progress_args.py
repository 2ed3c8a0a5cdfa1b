"""Many updates travel as two arguments, whatever their ids and texts are."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from llmjobs_core.jobs import ProgressUpdate
from llmjobs_core.names import UnitRef
from llmjobs_core.store.encode import pack_ids, progress_args, unpack_ids

IDS = st.lists(st.integers(0, 2**32 - 1), max_size=5).map(tuple)


@given(st.lists(st.tuples(st.text(max_size=5), IDS, IDS), max_size=5))
def test_each_update_finds_its_ids_again(
    updates: list[tuple[str, tuple[int, ...], tuple[int, ...]]],
) -> None:
    packed, all_ids = progress_args(
        [
            ProgressUpdate(
                ref=UnitRef("job-1"), fence=1, text=text, token_ids=ids, prompt_token_ids=prompt
            )
            for text, ids, prompt in updates
        ]
    )
    assert isinstance(packed, bytes)
    assert isinstance(all_ids, bytes)
    found = []
    for _, _, text, _, size, prompt_size, *_ in msgspec.msgpack.decode(packed):
        ids, all_ids = all_ids[:size], all_ids[size:]
        prompt, all_ids = all_ids[:prompt_size], all_ids[prompt_size:]
        found.append((text, unpack_ids(ids), unpack_ids(prompt)))
    assert found == updates
    assert not all_ids


@given(IDS)
def test_ids_take_four_bytes_each_and_come_back(ids: tuple[int, ...]) -> None:
    assert len(pack_ids(ids)) == 4 * len(ids)
    assert unpack_ids(pack_ids(ids)) == ids
