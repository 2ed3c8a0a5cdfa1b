"""What the API server's refusals mean."""

import json

import pytest
from kubernetes.aio.client.exceptions import ApiException

from llmjobs_operator.cluster import ClusterUnavailable, ObjectGone, _translate

GONE = {"message": 'llmjobs.llmjobs.dev "a" not found', "details": {"name": "a"}}
NOT_SERVED = {"message": "the server could not find the requested resource", "details": {}}


@pytest.mark.parametrize(
    ("body", "want"),
    [
        (json.dumps(GONE), ObjectGone),
        (json.dumps(NOT_SERVED), ClusterUnavailable),
        ("404 page not found\n", ClusterUnavailable),
    ],
    ids=["the object is gone", "its kind is not served", "its group is not served"],
)
def test_only_an_object_that_is_named_as_missing_is_gone(body: str, want: type[Exception]) -> None:
    """An API server that starts answers 404 for every custom object for a moment."""
    error = ApiException(status=404, reason="Not Found")
    error.body = body
    assert type(_translate(error)) is want
