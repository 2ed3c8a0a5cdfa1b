"""From the types of a chart's values to its values.yaml, its JSON Schema and its table. Pure."""

import json
import textwrap
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from llmjobs_charts.common import Values

_WIDTH = 98
_HEADER = """# Every value and its default; give your own with `helm install -f`.
# Made from tools/llmjobs_charts by `make generate`; do not edit.
"""


def render_values(model: type[Values]) -> str:
    """Return values.yaml, with each value's meaning above it."""
    return _HEADER + "".join(f"\n{line}" for line in _render_group(model(), 0, spaced=True))[1:]


def _render_group(values: Values, depth: int, *, spaced: bool = False) -> Iterator[str]:
    indent = "  " * depth
    for name, field in _own_fields_first(type(values)):
        if spaced:
            yield ""
        width = _WIDTH - len(indent)
        yield from (f"{indent}# {line}" for line in _wrap(_describe(field), width))
        value = getattr(values, name)
        if isinstance(value, Values):
            yield f"{indent}{field.alias}:"
            yield from _render_group(value, depth + 1)
        else:
            plain = json.loads(values.model_dump_json(by_alias=True, include={name}))
            yield from _render_leaf(plain, indent)
    if spaced:
        yield ""


def _own_fields_first(model: type[Values]) -> list[tuple[str, FieldInfo]]:
    """Return the fields, those that are a group's own before those that it shares."""
    fields = model.model_fields
    inherited = {
        name for base in model.__mro__[1:] for name in getattr(base, "__annotations__", {})
    }
    return sorted(fields.items(), key=lambda item: item[0] in inherited)


def _describe(field: FieldInfo) -> str:
    text = field.description or ""
    return text if text.endswith(".") else f"{text}."


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)


def _render_leaf(plain: dict[str, Any], indent: str) -> Iterator[str]:
    text = yaml.safe_dump(plain, sort_keys=False, width=10_000, default_flow_style=False)
    yield from (f"{indent}{line}" for line in text.rstrip().splitlines())


def render_schema(model: type[Values]) -> str:
    """Return values.schema.json, as Helm 3 and Helm 4 read it."""
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", **build_schema(model)}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def build_schema(model: type[Values]) -> dict[str, Any]:
    """Return the schema of *model* without references, so that each value has its own meaning."""
    whole = model.model_json_schema(by_alias=True)
    return _resolve(whole, whole.get("$defs", {}))


_DROPPED = {"title", "$defs", "default"}


def _resolve(node: dict[str, Any], types: dict[str, Any]) -> dict[str, Any]:
    merged = dict(node)
    if "$ref" in merged:
        merged = {**types[merged.pop("$ref").rpartition("/")[2]], **merged}
    if "properties" in merged:
        merged["properties"] = {
            name: _resolve(child, types) for name, child in merged["properties"].items()
        }
    for key in ("items", "additionalProperties"):
        if isinstance(merged.get(key), dict):
            merged[key] = _resolve(merged[key], types)
    if "anyOf" in merged:
        merged["anyOf"] = [_resolve(option, types) for option in merged["anyOf"]]
    return {name: value for name, value in merged.items() if name not in _DROPPED}


def render_table(model: type[Values]) -> str:
    """Return every value as a row of a Markdown table."""
    rows = ["| value | default | meaning |", "|---|---|---|"]
    rows += [
        f"| `{path}` | `{default}` | {text} |" for path, default, text in walk_values(model(), "")
    ]
    return "\n".join(rows) + "\n"


def walk_values(values: Values, prefix: str) -> Iterator[tuple[str, str, str]]:
    """Yield path, default and meaning of each value below *values*."""
    for name, field in _own_fields_first(type(values)):
        path, value = f"{prefix}{field.alias}", getattr(values, name)
        if isinstance(value, Values):
            yield from walk_values(value, f"{path}.")
            continue
        plain = json.loads(values.model_dump_json(by_alias=True, include={name}))
        text = json.dumps(next(iter(plain.values())), ensure_ascii=False).replace("|", "\\|")
        yield path, text, _describe(field).replace("|", "\\|")
