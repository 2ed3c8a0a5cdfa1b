"""The rows of the table, in its order."""

from llmjobs_bench.row import Row
from llmjobs_bench.rows import batch_lines, efficiency, jobs, relay

ROWS: list[Row] = [relay.FAST, efficiency.SCRIPTED, efficiency.LLAMA, jobs.JOBS, batch_lines.LINES]
