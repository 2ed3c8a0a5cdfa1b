"""The custom resources as types: the one source of their schema, validation and reference."""

from llmjobs_core.resources.llmjob import LLMJob, LLMJobSpec, LLMJobStatus
from llmjobs_core.resources.parse import InvalidResource, parse_llmjob, parse_pool
from llmjobs_core.resources.pool import LLMWorkerPool, LLMWorkerPoolSpec, LLMWorkerPoolStatus
from llmjobs_core.resources.submission import build_new_job, owned_job_id

__all__ = [
    "InvalidResource",
    "LLMJob",
    "LLMJobSpec",
    "LLMJobStatus",
    "LLMWorkerPool",
    "LLMWorkerPoolSpec",
    "LLMWorkerPoolStatus",
    "build_new_job",
    "owned_job_id",
    "parse_llmjob",
    "parse_pool",
]
