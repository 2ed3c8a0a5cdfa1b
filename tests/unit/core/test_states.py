from llmjobs_core.states import TERMINAL_STATES, TRANSITIONS, JobState


def test_no_transition_leaves_a_terminal_state() -> None:
    assert all(not TRANSITIONS[state] for state in TERMINAL_STATES)


def test_every_state_has_its_transitions_written_down() -> None:
    assert set(TRANSITIONS) == set(JobState)


def test_every_live_state_can_be_cancelled() -> None:
    live = set(JobState) - TERMINAL_STATES
    assert all(JobState.CANCELLED in TRANSITIONS[state] for state in live)
