"""Write what is made from the code: CRDs, the chart's copies, dashboards, alerts, the references.

A test fails on drift.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from llmjobs_api.app import create_app
from llmjobs_api.ports import build_ports
from llmjobs_api.settings import GatewaySettings
from llmjobs_charts.common import Values
from llmjobs_charts.documents import render_schema, render_table, render_values
from llmjobs_charts.llmjobs_values import LLMJobsValues
from llmjobs_charts.pool_values import PoolValues
from llmjobs_core.resources.schema import build_llmjob_crd, build_pool_crd
from llmjobs_monitoring.files import build_files as build_monitoring_files

ROOT = Path(__file__).resolve().parent.parent
CHARTS: dict[str, type[Values]] = {"llmjobs": LLMJobsValues, "llmjobs-pool": PoolValues}
_VALUES_MARK = "## Values\n"
_HEADER = "# Made from core/llmjobs_core/resources by `make generate`; do not edit.\n"


def render_crd(crd: dict[str, Any]) -> str:
    """Return a CRD as YAML."""
    return _HEADER + yaml.safe_dump(crd, sort_keys=False, width=100)


def render_reference(crd: dict[str, Any]) -> str:
    """Return the fields of a resource as a Markdown page."""
    kind = crd["spec"]["names"]["kind"]
    version = crd["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    short = crd["spec"]["names"]["shortNames"][0]
    lines = [
        f"# {kind}",
        "",
        f"`{crd['spec']['group']}/{version['name']}`, short name `{short}`.",
        schema["description"],
        "",
        "This page is made from the types in `core/llmjobs_core/resources` by `make generate`.",
    ]
    for part in ("spec", "status"):
        node = schema["properties"][part]
        lines += ["", f"## {part}", "", "| field | type | meaning |", "|---|---|---|"]
        lines += [f"| `{path}` | {kind_} | {text} |" for path, kind_, text in walk(node, "")]
    rules = list(find_rules(schema, ""))
    lines += ["", "## Rules", ""]
    lines += [f"- `{path or kind}`: {message}" for path, message in rules]
    return "\n".join(lines) + "\n"


def walk(node: dict[str, Any], prefix: str) -> Iterator[tuple[str, str, str]]:
    """Yield path, type and description of every field below *node*."""
    for name, child in node.get("properties", {}).items():
        path = f"{prefix}{name}"
        yield path, describe_type(child), describe_field(child, name in node.get("required", []))
        if child.get("x-kubernetes-preserve-unknown-fields"):
            continue
        yield from walk(child, f"{path}.")
        yield from walk(child.get("items", {}), f"{path}[].")


def describe_type(child: dict[str, Any]) -> str:
    """Return a field's type with its bounds."""
    kind = str(child.get("type", "any"))
    if "enum" in child:
        return " \\| ".join(f"`{value}`" for value in child["enum"])
    bounds = [
        f"{word} {child[key]}"
        for key, word in (
            ("minimum", ">="),
            ("maximum", "<="),
            ("maxLength", "at most chars:"),
            ("maxItems", "at most items:"),
        )
        if key in child
    ]
    return f"{kind} ({', '.join(bounds)})" if bounds else kind


def describe_field(child: dict[str, Any], required: bool) -> str:
    """Return a field's meaning, with its default or that it is required."""
    text = str(child.get("description", "")).replace("\n", " ").replace("|", "\\|")
    if required:
        text += " **Required.**"
    if "default" in child and not isinstance(child["default"], dict) and child["default"] != "":
        default = child["default"]
        text += f" Default `{str(default).lower() if isinstance(default, bool) else default}`."
    return text


def find_rules(node: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """Yield where each rule across fields stands, and its message."""
    for rule in node.get("x-kubernetes-validations", []):
        yield path, rule["message"]
    for name, child in node.get("properties", {}).items():
        yield from find_rules(child, f"{path}.{name}".strip("."))


_HTTP_INTRO = """# HTTP

Made from the gateway's own OpenAPI document by `make generate`; a running gateway serves the same
at `/openapi.json`, and a page to try it at `/docs`.

- Bodies are JSON in UTF-8. Unknown fields of llmjobs' own are refused; an OpenAI body is passed on
  as it is.
- Errors are `application/problem+json` (RFC 9457) with an OpenAI-style `error` inside:
  `error.param` names the field, `error.code` the reason.
- `Idempotency-Key` on `POST /jobs` makes a repeated submission give the same job.
- `"durable": true` on `POST /jobs` keeps the job as an LLMJob, too (`resource` is its name): what
  was accepted is run even if the job store loses everything, under the id that was given out. What
  HTTP clients wish of a job that has an LLMJob is written to the LLMJob's spec. Results are in the
  job store only.
- `Prefer: wait=N` on `POST /jobs` answers with the result if it is there within N seconds.
- Event streams (`/jobs/{job_id}/events`) are server-sent events: `state`, `delta` (text),
  `reset` (all text so far is void), `line` (a batch line ended) and `done`. Connect again with
  `Last-Event-ID`: nothing is lost or repeated.
- `/jobs/{job_id}/ws?after=ID` is a WebSocket with the same events, one JSON message each.
"""


def render_http(document: dict[str, Any]) -> str:
    """Return the gateway's routes as a Markdown page."""
    parts = [_HTTP_INTRO]
    parts += [
        _render_operation(f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    parts.append("## Schemas\n")
    for name, schema in sorted(document["components"]["schemas"].items()):
        if "properties" in schema:
            parts.append(_render_schema(name, schema))
    return "\n".join(parts)


def _render_operation(title: str, operation: dict[str, Any]) -> str:
    lines = [f"## {title}", "", f"{operation.get('summary', '')}.", ""]
    if operation.get("description"):
        lines += [operation["description"].strip(), ""]
    for parameter in operation.get("parameters", []):
        text = parameter.get("description") or parameter["schema"].get("description") or ""
        lines.append(f"- `{parameter['name']}` ({parameter['in']}) {text}".rstrip())
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        lines.append(f"- body `{media}`: {_name_schema(content['schema'])}")
    for status, answer in operation["responses"].items():
        schemas = [_name_schema(c.get("schema", {})) for c in answer.get("content", {}).values()]
        shown = f" ({', '.join(schemas)})" if any(schemas) else ""
        lines.append(f"- **{status}** {answer['description']}{shown}")
    return "\n".join(lines) + "\n"


def _name_schema(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_name_schema(choice) for choice in schema["anyOf"])
    return str(schema.get("description") or schema.get("type", ""))


def _render_schema(name: str, schema: dict[str, Any]) -> str:
    lines = [f"### {name}", "", schema.get("description", ""), ""]
    lines += ["| field | type | meaning |", "|---|---|---|"]
    required = schema.get("required", [])
    for field, child in schema["properties"].items():
        kind = _name_schema(child) if {"$ref", "anyOf"} & child.keys() else describe_type(child)
        lines.append(f"| `{field}` | {kind} | {describe_field(child, field in required).strip()} |")
    return "\n".join(lines) + "\n"


def build_http_document() -> dict[str, Any]:
    """Return the OpenAPI document of a gateway with default settings."""
    settings = GatewaySettings()
    return create_app(settings, build_ports(settings)).openapi()


def build_files() -> dict[Path, str]:
    """Return every generated file and its content."""
    found = build_monitoring_files(ROOT)
    found[ROOT / "docs" / "reference" / "http.md"] = render_http(build_http_document())
    chart = ROOT / "charts" / "llmjobs"
    for rules in sorted((ROOT / "manifests" / "rbac").glob("*.yaml")):
        found[chart / "files" / "rbac" / rules.name] = rules.read_text(encoding="utf-8")
    for crd in (build_llmjob_crd(), build_pool_crd()):
        name = crd["spec"]["names"]["singular"]
        found[ROOT / "manifests" / "crds" / f"{name}.yaml"] = render_crd(crd)
        found[chart / "files" / "crds" / f"{name}.yaml"] = render_crd(crd)
        found[ROOT / "docs" / "reference" / f"{name}.md"] = render_reference(crd)
    return found | build_chart_files()


def build_chart_files() -> dict[Path, str]:
    """Return what is made from the types of the charts' values."""
    found: dict[Path, str] = {}
    for name, values in CHARTS.items():
        folder = ROOT / "charts" / name
        readme = (folder / "README.md").read_text(encoding="utf-8")
        head, mark, _ = readme.partition(_VALUES_MARK)
        found[folder / "values.yaml"] = render_values(values)
        found[folder / "values.schema.json"] = render_schema(values)
        found[folder / "README.md"] = f"{head}{mark}\n{render_table(values)}"
    return found


def main() -> int:
    """Write the files; with ``--check`` only say which differ and return 1 if any does."""
    check = "--check" in sys.argv[1:]
    drifted = False
    for path, content in build_files().items():
        if path.exists() and path.read_text(encoding="utf-8") == content:
            continue
        drifted = True
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        print(f"{'differs' if check else 'wrote'}: {path.relative_to(ROOT)}")
    return 1 if check and drifted else 0


if __name__ == "__main__":
    sys.exit(main())
