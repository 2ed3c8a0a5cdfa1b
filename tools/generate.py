"""Write what is made from the code: CRDs and the field reference. A test fails on drift."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from llmjobs_core.resources.schema import build_llmjob_crd, build_pool_crd

ROOT = Path(__file__).resolve().parent.parent
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


def build_files() -> dict[Path, str]:
    """Return every generated file and its content."""
    found: dict[Path, str] = {}
    for crd in (build_llmjob_crd(), build_pool_crd()):
        name = crd["spec"]["names"]["singular"]
        found[ROOT / "manifests" / "crds" / f"{name}.yaml"] = render_crd(crd)
        found[ROOT / "docs" / "reference" / f"{name}.md"] = render_reference(crd)
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
