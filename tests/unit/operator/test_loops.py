"""What the operator does with an object that it fails on."""

from typing import Any, cast

from prometheus_client import CollectorRegistry

from llmjobs_operator.loops import Loops
from llmjobs_operator.metrics import OperatorMetrics
from llmjobs_operator.objects import Kind, ObjectKey
from llmjobs_operator.worklist import Worklist

KEY = ObjectKey(Kind.JOB, "team-a", "a")


class Broken:
    """A reconciler with a bug."""

    async def reconcile(self, key: ObjectKey) -> None:
        raise KeyError(key.name)


async def test_a_bug_in_one_object_is_counted_and_the_object_is_tried_again() -> None:
    registry, work = CollectorRegistry(), Worklist()
    unused = cast("Any", None)
    loops = Loops(
        view=unused, work=work, store=unused, jobs=cast("Any", Broken()), pools=unused,
        election=unused, audit=unused, metrics=OperatorMetrics(registry),
    )  # fmt: skip
    await loops._reconcile(KEY)
    assert len(work) == 1
    labels = {"kind": "LLMJob", "error": "KeyError"}
    assert registry.get_sample_value("llmjobs_operator_reconcile_errors_total", labels) == 1
