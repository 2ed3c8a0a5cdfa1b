"""Which pools there are, and what waits for them."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from llmjobs_api.bodies import JSON
from llmjobs_api.context import get_gateway
from llmjobs_api.docs import answer, problems
from llmjobs_api.identity import ALL_NAMESPACES, Resource, Verb
from llmjobs_api.schemas import PoolList
from llmjobs_api.views import build_pool
from llmjobs_core.errors import PoolNotFound

router = APIRouter(tags=["pools"])


@router.get(
    "/pools",
    summary="List a namespace's pools",
    response_model=None,
    responses={200: answer("PoolList", "The pools."), **problems(403, 422)},
)
async def list_pools(
    request: Request,
    namespace: Annotated[str | None, Query(max_length=63, description="`*` for all.")] = None,
) -> Response:
    """Answer with each pool: what it serves, its slots, and what waits."""
    gateway = get_gateway(request)
    principal = await gateway.identify(request)
    chosen = await gateway.choose_namespace(principal, Verb.LIST, Resource.POOLS, namespace)
    pools = []
    for key in await gateway.store.list_pools():
        if chosen in {ALL_NAMESPACES, key.namespace}:
            try:
                pools.append(build_pool(await gateway.store.fetch_pool(key)))
            except PoolNotFound:
                continue
    return Response(msgspec.json.encode(PoolList(pools)), media_type=JSON)
