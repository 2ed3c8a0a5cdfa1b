"""Whether this process lives, whether it can serve, and what it counts."""

import msgspec
from fastapi import APIRouter, Request
from prometheus_client.exposition import choose_encoder
from starlette.responses import Response

from llmjobs_api.bodies import JSON
from llmjobs_api.context import Gateway, get_gateway
from llmjobs_api.docs import answer, problems, text_answer
from llmjobs_api.problems import Problem
from llmjobs_api.schemas import HealthView
from llmjobs_core.errors import StoreUnavailable

router = APIRouter(tags=["operations"])


async def _check(gateway: Gateway) -> None:
    """Raise the 503 problem unless this process can serve."""
    if gateway.hub.draining:
        raise Problem(
            503, "draining", "this process is shutting down", headers={"Retry-After": "2"}
        )
    try:
        await gateway.store.ping()
    except StoreUnavailable as error:
        detail = "the job store can't be reached"
        headers = {"Retry-After": "2"}
        raise Problem(503, "store_unavailable", detail, headers=headers) from error


@router.get(
    "/healthz",
    summary="Whether the process lives",
    response_model=None,
    responses={200: text_answer("It does.", "text/plain"), 500: problems(500)[500]},
)
async def healthz(request: Request) -> Response:
    """Answer without asking anybody: a store that is away is no reason to restart this process.

    Answers 500 where a part of it has died that only a new process has again.
    """
    if dead := get_gateway(request).dead_parts:
        raise Problem(500, "part_died", f"this process lacks its {', '.join(dead)}")
    return Response("ok\n", media_type="text/plain")


@router.get(
    "/readyz",
    summary="Whether it can serve",
    response_model=None,
    responses={200: text_answer("It can.", "text/plain"), **problems()},
)
async def readyz(request: Request) -> Response:
    """Answer 200 while the store answers and this process is not shutting down."""
    await _check(get_gateway(request))
    return Response("ok\n", media_type="text/plain")


@router.get(
    "/health",
    summary="Whether it can serve, as JSON",
    response_model=None,
    responses={200: answer("HealthView", "It can."), **problems()},
)
async def health(request: Request) -> Response:
    """Answer as `/readyz` does, for clients of the small surface."""
    await _check(get_gateway(request))
    return Response(msgspec.json.encode(HealthView("ok", "ok")), media_type=JSON)


@router.get(
    "/metrics",
    summary="Prometheus metrics of this process",
    response_model=None,
    responses={200: text_answer("The metrics.", "text/plain")},
)
async def metrics(request: Request) -> Response:
    """Answer in the format that the scraper asks for."""
    gateway = get_gateway(request)
    gateway.metrics.open_streams.set(gateway.slots.used)
    gateway.metrics.store_up.set(int(gateway.hub.connected.is_set()))
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(gateway.metrics.registry), headers={"content-type": content_type})
