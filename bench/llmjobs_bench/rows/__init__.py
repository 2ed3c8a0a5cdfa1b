"""The rows of the table, in its order."""

from llmjobs_bench.row import Row
from llmjobs_bench.rows import million, relay

ROWS: list[Row] = [relay.FAST, million.MILLION]
