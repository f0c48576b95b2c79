"""The shape of `service/`: names that exist once, and imports that go one way."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path
from typing import Final

import grimp
import pytest

SERVICE: Final = Path(__file__).parents[1] / "service"


def test_public_class_name_exists_once() -> None:
    """A reader who finds a class by its name has found the only one."""
    places: dict[str, list[str]] = defaultdict(list)
    for path in SERVICE.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(path.relative_to(SERVICE).as_posix())
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_module_imports_itself_through_others() -> None:
    """Imports form no circle, those inside functions and for type checkers included."""
    graph = grimp.build_graph("service", cache_dir=None)
    assert circles({module: graph.find_modules_directly_imported_by(module) for module in graph.modules}) == []


@pytest.mark.parametrize(
    ("imports", "found"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"a"}, "c": {"a"}}, [["a", "b"]]),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}}, [["a", "b", "c"]]),
    ],
)
def test_circle_is_found(imports: dict[str, set[str]], found: list[list[str]]) -> None:
    """Modules that reach each other are a circle, whatever else they import."""
    assert circles(imports) == found


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules in which each reaches every other."""
    reached = {module: reach(module, imports) for module in imports}
    groups = {
        frozenset(other for other in reached[module] if module in reached[other])
        for module in imports
        if module in reached[module]
    }
    return sorted(sorted(group) for group in groups)


def reach(module: str, imports: dict[str, set[str]]) -> set[str]:
    """The modules that a module imports, directly or through others."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        new = imports[waiting.pop()] - found
        found |= new
        waiting += new
    return found
