"""What every route needs, made once by the app's lifespan, and who may do what with which job."""

import re
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from llmjobs_api.hub import Hub
from llmjobs_api.identity import ALL_NAMESPACES, Authority, Principal, Resource, Verb
from llmjobs_api.metrics import GatewayMetrics
from llmjobs_api.pools import PoolDirectory
from llmjobs_api.problems import Problem, job_not_found
from llmjobs_api.resources import JobResources
from llmjobs_api.settings import GatewaySettings
from llmjobs_api.streams import StreamSlots
from llmjobs_core.jobs import JobRecord
from llmjobs_core.resources.common import DNS_LABEL
from llmjobs_core.store import JobStore

_JOB_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_NAMESPACE = re.compile(DNS_LABEL)


@dataclass(frozen=True, slots=True)
class Gateway:
    """The gateway's parts."""

    settings: GatewaySettings
    store: JobStore
    hub: Hub
    authority: Authority
    resources: JobResources | None
    """Makes and changes LLMJobs; None where this gateway does not."""
    pools: PoolDirectory
    slots: StreamSlots
    metrics: GatewayMetrics
    dead_parts: list[str] = field(default_factory=list)
    """Parts that must never end, and did: only a new process has them again."""

    async def identify(self, connection: HTTPConnection) -> Principal:
        """Return the caller, and note it for :func:`get_caller`; raises the 401 or 503 problem."""
        principal = await self.authority.authenticate(connection.headers.get("authorization", ""))
        connection.state.principal = principal
        return principal

    async def choose_namespace(
        self, principal: Principal, verb: Verb, resource: Resource, wish: str | None
    ) -> str:
        """Return the namespace to act in; raises the 422 problem, or 403 if it is not allowed."""
        namespace = wish or principal.namespace
        if namespace != ALL_NAMESPACES and not (
            len(namespace) <= 63 and _NAMESPACE.fullmatch(namespace)
        ):
            detail = "namespace must be a DNS label of at most 63 characters"
            raise Problem(422, "invalid_namespace", detail, param="namespace")
        if not await self.authority.is_allowed(principal, verb, resource, namespace):
            raise Problem(
                403,
                "forbidden",
                f"you may not {verb} {resource} in this namespace",
                param="namespace",
            )
        return namespace

    async def fetch_job(self, connection: HTTPConnection, job_id: str, verb: Verb) -> JobRecord:
        """Return the job if it is there and the caller may do this to it.

        Raises the 404 problem else: another tenant's job does not exist. A caller who may see the
        job but not change it gets 403.
        """
        principal = await self.identify(connection)
        if not _JOB_ID.fullmatch(job_id):
            raise job_not_found()
        record = await self.store.fetch(job_id)
        allowed = self.authority.is_allowed
        if await allowed(principal, verb, Resource.JOBS, record.namespace):
            return record
        if verb is not Verb.GET and await allowed(
            principal, Verb.GET, Resource.JOBS, record.namespace
        ):
            raise Problem(403, "forbidden", f"you may not {verb} this job")
        raise job_not_found()


def get_gateway(connection: HTTPConnection) -> Gateway:
    """Return the parts that the app's lifespan made."""
    gateway: Gateway = connection.state.gateway
    return gateway


def get_caller(connection: HTTPConnection) -> str:
    """Return the name of the caller that was identified for this request."""
    principal: Principal = connection.state.principal
    return principal.name
