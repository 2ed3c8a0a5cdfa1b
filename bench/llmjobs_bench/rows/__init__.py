"""The rows of the table, in its order."""

from llmjobs_bench.row import Row
from llmjobs_bench.rows import relay, watchers, whole_path

ROWS: list[Row] = [relay.FAST, relay.PACED, whole_path.ROW, watchers.ROW]
