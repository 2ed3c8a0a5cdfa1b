"""`llmjobs dev down --delete-data` deletes what a stack made, and nothing else."""

from pathlib import Path

from typer.testing import CliRunner

from llmjobs_cli.dev_commands import dev
from llmjobs_dev.state import Phase, StackState, write_state


def run_down(folder: Path) -> tuple[int, str]:
    found = CliRunner().invoke(dev, ["down", "--delete-data", "--data-dir", str(folder)])
    return found.exit_code, found.output


def test_a_folder_that_no_stack_made_stays_and_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    code, said = run_down(tmp_path)
    assert (code, "Not deleted" in said) == (1, True)
    assert (tmp_path / "thesis.txt").exists()


def test_a_stopped_stacks_folder_goes(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    folder.mkdir()
    write_state(StackState(phase=Phase.STOPPED, data_dir=str(folder)))
    assert run_down(folder)[0] == 0
    assert not folder.exists()


def test_nothing_to_delete_is_no_error(tmp_path: Path) -> None:
    assert run_down(tmp_path / "none")[0] == 0
