"""The repository's layout: a stray file in ``operator/`` shadows the standard library."""

import operator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("folder", ["core", "operator", "api", "worker", "cli", "dev"])
def test_role_folder_holds_no_module_of_its_own(folder: str) -> None:
    assert list((ROOT / folder).glob("*.py")) == []


def test_only_the_support_tree_of_tests_has_packages() -> None:
    tests = ROOT / "tests"
    strays = [p for p in tests.rglob("__init__.py") if (tests / "support") not in p.parents]
    assert strays == []


def test_operator_is_still_the_standard_library_module() -> None:
    assert not hasattr(operator, "__path__")
    assert operator.add(1, 2) == 3
