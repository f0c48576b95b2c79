"""Private names of aiohttp: one module uses them, and each still means something in the installed aiohttp."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web, web_protocol, web_response
from aiohttp.web_protocol import RequestHandler
from aiohttp.worker import GunicornWebWorker

from service.http import aiohttp_compat

ROOT = Path(__file__).parents[2]
COMPAT = Path(aiohttp_compat.__file__)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
CLASSES = (RequestHandler, web.Server, web.AppRunner, web.WebSocketResponse, web.Request, GunicornWebWorker)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def private_names(cls: type) -> set[str]:
    """The private names that the classes of aiohttp among the bases of a class define."""
    names: set[str] = set()
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] in ("aiohttp", "asyncio") and base is not object:
            names |= {name for name in vars(base) if is_private(name)}
            names |= set(re.findall(r"\bself\.(_[a-z]\w*)", inspect.getsource(base)))
    return names


KNOWN = set[str]().union(*(private_names(cls) for cls in CLASSES))


def accesses(tree: ast.AST, *, of_self: bool) -> Iterator[ast.Attribute]:
    """The accesses to private names of `self` or of another object."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            base = node.value
            is_self = (isinstance(base, ast.Name) and base.id in ("self", "cls")) or (
                isinstance(base, ast.Call) and isinstance(base.func, ast.Name) and base.func.id == "super"
            )
            if is_self == of_self:
                yield node


def subclasses(module: ModuleType, tree: ast.Module) -> Iterator[tuple[ast.ClassDef, set[str]]]:
    """The classes of a module that extend one of aiohttp, with the private names that aiohttp gives them."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            cls = getattr(module, node.name)
            if names := private_names(cls):
                yield node, names


def faults(path: Path) -> list[str]:
    """The places of a module that use a private name of aiohttp."""
    source = path.read_text(encoding="utf-8")
    if "aiohttp" not in source:
        return []
    tree = ast.parse(source)
    found: list[Any] = [node for node in accesses(tree, of_self=False) if node.attr in KNOWN]
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    for cls, names in subclasses(module, tree):
        found += [node for node in accesses(cls, of_self=True) if node.attr in names]
        found += [node for node in cls.body if isinstance(node, _FUNCTIONS) and node.name in names]
    return [
        f"{path.relative_to(ROOT)}:{node.lineno}: {getattr(node, 'attr', getattr(node, 'name', ''))}" for node in found
    ]


def test_one_module_uses_private_names_of_aiohttp() -> None:
    """No other module reads, sets or overrides a private name of aiohttp's connections, servers, runners or WebSockets."""
    paths = [path for path in (ROOT / "service").rglob("*.py") if path != COMPAT]

    assert [fault for path in paths for fault in faults(path)] == []


def test_fault_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search finds an access to a private name of another object, and one of a subclass."""
    (tmp_path / "service").mkdir()
    path = tmp_path / "service" / "bad_example.py"
    path.write_text(
        "from aiohttp import web\n"
        "def f(c):\n    return c._payload_parser\n"
        "class S(web.Server):\n    def g(self):\n        return self._kwargs\n    def _make_request(self):\n        pass\n"
    )
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    monkeypatch.setattr(importlib, "import_module", lambda _: executed(path))

    assert [fault.rpartition(" ")[2] for fault in faults(path)] == ["_payload_parser", "_kwargs", "_make_request"]


def executed(path: Path) -> ModuleType:
    """The module of a file that is in no package."""
    module = ModuleType(path.stem)
    exec(compile(path.read_text(), str(path), "exec"), vars(module))  # the lines above
    return module


def used() -> list[tuple[str, type | None]]:
    """Every private name that the module uses, with the class of aiohttp that must have it; None: any of them."""
    tree = ast.parse(COMPAT.read_text(encoding="utf-8"))
    found: set[tuple[str, type | None]] = {(node.attr, None) for node in accesses(tree, of_self=False)}
    for cls, _ in subclasses(aiohttp_compat, tree):
        found |= {(node.attr, getattr(aiohttp_compat, cls.name)) for node in accesses(cls, of_self=True)}
    return sorted(found, key=str)


@pytest.mark.parametrize(("name", "cls"), used())
def test_private_name_is_there(name: str, cls: type | None) -> None:
    """aiohttp defines or sets each private name that the module reads."""
    assert name in (KNOWN if cls is None else private_names(cls))


@pytest.mark.parametrize(
    ("cls", "base", "name"),
    [
        (aiohttp_compat.HookedWebSocketResponse, web.WebSocketResponse, "_handshake"),
        (aiohttp_compat.HookedWebSocketResponse, web.WebSocketResponse, "_post_start"),
        (aiohttp_compat.ReplacingRunner, web.AppRunner, "_make_server"),
    ],
)
def test_private_method_has_the_same_parameters(cls: Any, base: Any, name: str) -> None:
    """Each private method that the module overrides takes what aiohttp passes to it."""
    assert list(inspect.signature(getattr(cls, name)).parameters) == list(
        inspect.signature(getattr(base, name)).parameters
    )


@pytest.mark.parametrize(
    ("module", "name", "use"),
    [
        (web_protocol, "MAX_MSG_QUEUE_SIZE", "self._max_msg_queue_size = MAX_MSG_QUEUE_SIZE"),
        (web_response, "SERVER_SOFTWARE", "hdrs.SERVER, SERVER_SOFTWARE"),
    ],
)
def test_constant_is_read_at_each_use(module: ModuleType, name: str, use: str) -> None:
    """aiohttp reads the constants that the module sets when it needs them."""
    assert hasattr(module, name)
    assert use in inspect.getsource(module)
