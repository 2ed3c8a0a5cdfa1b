"""The rows of the table, in its order."""

from llmjobs_bench.row import Row
from llmjobs_bench.rows import batch_lines, jobs, relay

ROWS: list[Row] = [jobs.JOBS, batch_lines.LINES, relay.FAST]
