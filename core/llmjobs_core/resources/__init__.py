"""The custom resources as types: the one source of their schema, validation and reference."""

from llmjobs_core.resources.llmjob import LLMJob, LLMJobSpec, LLMJobStatus
from llmjobs_core.resources.parse import InvalidResource, parse_llmjob, parse_pool
from llmjobs_core.resources.pool import LLMWorkerPool, LLMWorkerPoolSpec, LLMWorkerPoolStatus

__all__ = [
    "InvalidResource",
    "LLMJob",
    "LLMJobSpec",
    "LLMJobStatus",
    "LLMWorkerPool",
    "LLMWorkerPoolSpec",
    "LLMWorkerPoolStatus",
    "parse_llmjob",
    "parse_pool",
]
