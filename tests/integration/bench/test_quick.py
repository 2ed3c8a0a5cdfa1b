"""The benchmarks in their smallest form: every self-check holds, and there are figures.

How fast anything was says nothing at these sizes, so nothing is asked of it.
"""

import math
from pathlib import Path

import pytest

from llmjobs_bench.row import Row, Stage
from llmjobs_bench.rows import efficiency, relay


@pytest.mark.parametrize("row", [relay.FAST, efficiency.SCRIPTED], ids=lambda row: str(row.name))
async def test_a_row_checks_itself_and_has_figures(row: Row, tmp_path: Path) -> None:
    figures = await row.measure(Stage(tmp_path, runs=1, is_quick=True, say=print))
    assert any(figure.bound is not None for figure in figures)
    assert [figure.what for figure in figures if math.isnan(figure.median)] == []
    assert len({figure.what for figure in figures}) == len(figures)
