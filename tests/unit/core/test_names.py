import pytest

from llmjobs_core.names import ChunkRef, PoolKey, UnitRef, build_job_id


def test_job_ids_sort_by_the_time_they_were_made() -> None:
    ids = [build_job_id(now_ms) for now_ms in (1, 2, 1_700_000_000_000, 1_700_000_000_001)]
    assert sorted(ids) == ids


def test_job_ids_of_the_same_millisecond_differ() -> None:
    assert len({build_job_id(5) for _ in range(1000)}) == 1000


@pytest.mark.parametrize("ref", [UnitRef("job-1"), UnitRef("job-1", 0), UnitRef("job-1", 49_999)])
def test_unit_reference_survives_its_text(ref: UnitRef) -> None:
    assert UnitRef.parse(str(ref)) == ref


def test_chunk_reference_survives_its_text() -> None:
    assert ChunkRef.parse(str(ChunkRef("job-1", 7))) == ChunkRef("job-1", 7)


@pytest.mark.parametrize("text", ["", "job-1", "job-1.", "job-1.x"])
def test_chunk_reference_refuses_other_text(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the type is the promise
        ChunkRef.parse(text)


def test_pool_names_its_queue() -> None:
    assert PoolKey.parse("team-a/small").queue == "llmjobs.team-a.small"
