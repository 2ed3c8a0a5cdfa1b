"""The charts' values: each is described, and nothing unknown gets in."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from llmjobs_charts.common import Values
from llmjobs_charts.documents import build_schema, render_values, walk_values
from llmjobs_charts.llmjobs_values import LLMJobsValues
from llmjobs_charts.pool_values import PoolValues
from llmjobs_testing.charts import ROOT

CHARTS: dict[str, type[Values]] = {"llmjobs": LLMJobsValues, "llmjobs-pool": PoolValues}
PASSED_THROUGH = {
    "affinity", "global", "valueFrom", "topologySpreadConstraints[]", "metrics[]", "parentRefs[]",
    "relabelings[]", "metricRelabelings[]", "gatewayFrom[]", "metricsFrom[]", "extraObjects[]",
    "extraVolumes[]", "extraVolumeMounts[]",
    # Of the resource, where the API server keeps unknown fields too.
    "template", "resources", "env[]",
}  # fmt: skip
"""Objects of Kubernetes' own, which the API server checks."""


def walk_objects(node: dict[str, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if node.get("type") == "object":
        yield name, node
    for key, child in node.get("properties", {}).items():
        yield from walk_objects(child, key)
    for child in node.get("anyOf", []):
        yield from walk_objects(child, name)
    if isinstance(node.get("items"), dict):
        yield from walk_objects(node["items"], f"{name}[]")


@pytest.mark.parametrize("chart", sorted(CHARTS))
def test_every_object_is_closed_or_passed_through(chart: str) -> None:
    for name, node in walk_objects(build_schema(CHARTS[chart]), ""):
        if node.get("additionalProperties") is False or name in PASSED_THROUGH:
            continue
        assert isinstance(node.get("additionalProperties"), dict), name


@pytest.mark.parametrize("chart", sorted(CHARTS))
def test_every_value_is_described(chart: str) -> None:
    assert [path for path, _, text in walk_values(CHARTS[chart](), "") if len(text) < 4] == []


@pytest.mark.parametrize("chart", sorted(CHARTS))
def test_the_values_file_holds_exactly_the_defaults(chart: str) -> None:
    written = yaml.safe_load(render_values(CHARTS[chart]))
    assert written == CHARTS[chart]().model_dump(mode="json", by_alias=True)


@pytest.mark.parametrize("chart", sorted(CHARTS))
def test_every_value_is_in_the_readme(chart: str) -> None:
    readme = (ROOT / "charts" / chart / "README.md").read_text()
    for path, _, _ in walk_values(CHARTS[chart](), ""):
        assert f"| `{path}` |" in readme
