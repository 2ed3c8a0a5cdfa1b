"""The rows of the table, in its order."""

from llmjobs_bench.row import Row
from llmjobs_bench.rows import (
    batch_lines,
    efficiency,
    jobs,
    million,
    relay,
    watchers,
    whole_path,
)

ROWS: list[Row] = [
    jobs.JOBS,
    batch_lines.LINES,
    relay.FAST,
    relay.PACED,
    whole_path.ROW,
    watchers.ROW,
    million.MILLION,
    efficiency.SCRIPTED,
    efficiency.LLAMA,
]
