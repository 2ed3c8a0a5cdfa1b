"""The stack's state file and lock."""

from pathlib import Path

from llmjobs_dev.lock import is_locked, try_lock
from llmjobs_dev.state import Phase, StackState, begin_step, end_step, read_state, write_state


def test_a_ready_stack_whose_lock_is_free_reads_as_stopped(tmp_path: Path) -> None:
    write_state(StackState(phase=Phase.READY, data_dir=str(tmp_path), pids={"valkey": 1}))
    state = read_state(tmp_path)
    assert state is not None
    assert (state.phase, state.pids) == (Phase.STOPPED, {})


def test_a_ready_stack_that_holds_its_lock_reads_as_ready(tmp_path: Path) -> None:
    write_state(StackState(phase=Phase.READY, data_dir=str(tmp_path)))
    with try_lock(tmp_path) or (tmp_path / "none").open():
        state = read_state(tmp_path)
    assert state is not None
    assert state.phase is Phase.READY


def test_only_one_holds_the_lock(tmp_path: Path) -> None:
    lock = try_lock(tmp_path)
    assert lock is not None
    assert try_lock(tmp_path) is None
    assert is_locked(tmp_path)
    lock.close()
    assert not is_locked(tmp_path)


def test_a_step_that_ended_has_its_time_and_status(tmp_path: Path) -> None:
    state = StackState(data_dir=str(tmp_path))
    step = begin_step(state, "valkey")
    end_step(state, step, detail="on port 1")
    (told,) = (read_state(tmp_path) or state).steps
    assert (told.name, told.status, told.detail) == ("valkey", "done", "on port 1")
    assert told.seconds is not None
