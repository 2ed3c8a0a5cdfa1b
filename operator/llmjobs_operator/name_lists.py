"""Lists of objects without their specs, decoded no further than names and versions. Pure."""

import msgspec

from llmjobs_operator.objects import Kind, ObjectKey
from llmjobs_operator.view import Stamp

NAMES_ONLY = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"
"""What to accept for it. Source: Kubernetes API concepts, "alternate representations"."""


class _Named(msgspec.Struct):
    name: str
    namespace: str = ""
    uid: str = ""
    version: str = msgspec.field(default="", name="resourceVersion")


class _Item(msgspec.Struct):
    metadata: _Named


class _Rest(msgspec.Struct):
    token: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct):
    items: list[_Item] | None = None
    metadata: _Rest = msgspec.field(default_factory=_Rest)


_DECODER = msgspec.json.Decoder(_Page)


def parse_stamps(kind: Kind, data: bytes) -> tuple[dict[ObjectKey, Stamp], str]:
    """Return which form of each object a page of a list names, and the token of the next page.

    The token is empty on the last page.
    """
    page = _DECODER.decode(data)
    stamps = {
        ObjectKey(kind, item.metadata.namespace, item.metadata.name): (
            item.metadata.uid,
            item.metadata.version,
        )
        for item in page.items or ()
    }
    return stamps, page.metadata.token
