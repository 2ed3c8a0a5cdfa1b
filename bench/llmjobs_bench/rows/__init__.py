"""The rows of the table, in its order."""

from llmjobs_bench.row import Row
from llmjobs_bench.rows import (
    batch_intake,
    batch_lines,
    efficiency,
    jobs,
    llmjobs,
    many_llmjobs,
    million,
    relay,
    scaling,
    submissions,
    turnaround,
    watchers,
    whole_path,
)

ROWS: list[Row] = [
    submissions.ROW,
    batch_intake.ROW,
    turnaround.ROW,
    jobs.JOBS,
    batch_lines.LINES,
    relay.FAST,
    relay.PACED,
    whole_path.ROW,
    watchers.ROW,
    watchers.SHARED,
    million.MILLION,
    llmjobs.LLMJOBS,
    many_llmjobs.MANY,
    scaling.SCALING,
    efficiency.SCRIPTED,
    efficiency.LLAMA,
]
