"""The dashboards, one module each; every title is a question or a plain fact."""

from llmjobs_monitoring.dashboards.errors import ERRORS
from llmjobs_monitoring.dashboards.gateway import GATEWAY
from llmjobs_monitoring.dashboards.latency import LATENCY
from llmjobs_monitoring.dashboards.overview import OVERVIEW
from llmjobs_monitoring.dashboards.queue import QUEUE
from llmjobs_monitoring.dashboards.vllm import VLLM
from llmjobs_monitoring.dashboards.workers import WORKERS
from llmjobs_monitoring.panels import Dashboard

DASHBOARDS: tuple[Dashboard, ...] = (OVERVIEW, QUEUE, LATENCY, WORKERS, ERRORS, VLLM, GATEWAY)
