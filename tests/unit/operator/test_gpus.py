"""How many GPUs a replica asks for, whoever makes them."""

from typing import Any

import pytest

from llmjobs_operator.pool_objects import count_gpus


def build(*limits: dict[str, Any], kind: str = "containers") -> dict[str, Any]:
    containers = [{"name": "c", "resources": {"limits": one}} for one in limits]
    return {"spec": {"template": {"spec": {kind: containers}}}}


@pytest.mark.parametrize(
    ("limits", "want"),
    [
        ({"nvidia.com/gpu": 4}, 4),
        ({"nvidia.com/gpu": "2", "memory": "8Gi"}, 2),
        ({"nvidia.com/mig-1g.5gb": 1}, 1),
        ({"amd.com/gpu": 8}, 8),
        ({"gpu.intel.com/i915": 1}, 1),
        ({"cpu": 4, "ephemeral-storage": "1Gi"}, 0),
        ({"nvidia.com/gpu": "many"}, 0),
    ],
)
def test_limits_that_name_gpus_are_counted(limits: dict[str, Any], want: int) -> None:
    assert count_gpus(build(limits)) == want


def test_engines_beside_the_worker_count() -> None:
    assert count_gpus(build({"nvidia.com/gpu": 2}, kind="initContainers")) == 2


def test_containers_without_resources_count_nothing() -> None:
    assert count_gpus({"spec": {"template": {"spec": {"containers": [{"name": "c"}]}}}}) == 0
