"""The chart against the schemas of every Kubernetes that it is for; no server is asked."""

import kubernetes_validate
import pytest

from llmjobs_testing.charts import render

VALUES = {
    "valkey": {"enabled": True, "auth": {"existingSecret": "store"}},
    "flower": {"enabled": True, "auth": {"existingSecret": "flower"}},
    "gateway": {
        "autoscaling": {"enabled": True},
        "ingress": {"enabled": True, "hosts": [{"host": "jobs.example.com"}]},
    },
    "tests": {"pool": "small"},
}


@pytest.mark.parametrize("version", [f"1.{minor}" for minor in range(30, 38)])
def test_every_object_fits_every_kubernetes(version: str) -> None:
    for item in render(VALUES):
        kubernetes_validate.validate(item, version, strict=True)
