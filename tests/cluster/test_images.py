"""The images that a node pulls hold little besides what runs."""

import pytest

from llmjobs_e2e.image_builds import build_archives
from llmjobs_e2e.image_sizes import measure_over_base
from llmjobs_e2e.target import Measure, Target

OVER_BASE_MB = 150


@pytest.mark.parametrize("name", ["llmjobs", "llmjobs-worker", "llmjobs-llama"])
def test_an_image_is_not_much_larger_than_its_base(
    target: Target, name: str, measured: Measure
) -> None:
    if target.own is None:
        pytest.skip("the images are a registry's")
    size_mb = measure_over_base(name, build_archives(print))
    measured(f"{name} over its base, MB", size_mb, OVER_BASE_MB)
