"""Imports point inward: who may import what, as a table, and a walk that checks it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import attrs
import pytest

PACKAGE = Path(__file__).parents[1] / "veo_shell"

# What reaches outside of the program, or differs from run to run.
IMPURE_MODULES = """
    asyncio atexit concurrent ctypes datetime faulthandler fcntl getpass glob http io
    locale logging mmap multiprocessing os pathlib platform pty queue random resource
    sched secrets select selectors shutil signal socket socketserver sqlite3 ssl
    subprocess sys tempfile termios threading time tkinter tty urllib.request uuid
    webbrowser
"""
IMPURE = tuple(IMPURE_MODULES.split())
IMPURE_BUILTINS = frozenset({"open", "input", "print", "breakpoint"})

INNER = ("veo_shell.core", "veo_shell.errors")
WORDS = (
    "veo_shell.settings",
    "veo_shell.container_builder",
    "veo_shell.container_sup",
    "veo_shell.container_monitor",
    "veo_shell.container_storage",
    "veo_shell.dns_registry",
    "veo_shell.node_monitor",
)

# What a node is put together from besides the words.
PARTS = (
    "veo_shell.own_settings",
    "veo_shell.applying",
    "veo_shell.coordinator",
    "veo_shell.deciders",
    "veo_shell.instances",
    "veo_shell.peers",
    "veo_shell.joining",
    "veo_shell.departure",
    "veo_shell.updating",
    "veo_shell.images",
    "veo_shell.heartbeat",
    "veo_shell.journal",
    "veo_shell.acting",
    "veo_shell.relay",
    "veo_shell.sessions",
    "veo_shell.streams",
    "veo_shell.journals",
    "veo_shell.event_log",
)

PTPYTHON_PARTS = ("prompt_toolkit", "pygments")


@attrs.frozen(kw_only=True)
class Ring:
    """Files, and what they may import of VEO and of others' packages.

    `typing_only` may be imported under `if TYPE_CHECKING:` alone. An edge may be split
    over several files whose names begin with the same word: they may import each other.
    """

    files: tuple[str, ...]
    veo: tuple[str, ...]
    others: tuple[str, ...] = ()
    typing_only: tuple[str, ...] = ()
    pure: bool = False


# A file belongs to the first ring that names it, and has to belong to one.
RINGS = (
    Ring(
        files=("core/model/*.py",),
        veo=("veo_shell.core.model",),
        others=("attrs",),
        pure=True,
    ),
    Ring(files=("__init__.py", "errors.py", "*/__init__.py"), veo=(), pure=True),
    Ring(
        files=("core/*.py",),
        veo=INNER,
        others=("attrs", "msgspec", "yaml", "dns"),
        pure=True,
    ),
    Ring(
        files=("container_builder.py",),
        veo=INNER,
        others=("attrs", "msgspec"),
        pure=True,
    ),
    Ring(files=("settings.py",), veo=INNER),
    Ring(files=("own_settings.py",), veo=(*INNER, "veo_shell.settings")),
    Ring(
        files=(
            *(f"{word.partition('.')[2]}.py" for word in WORDS),
            *(f"{part.partition('.')[2]}.py" for part in PARTS[1:]),
        ),
        veo=(
            *INNER,
            "veo_shell.acting",
            "veo_shell.container_builder",
            "veo_shell.journals",
        ),
        others=("attrs", "msgspec"),
        typing_only=("veo_shell.node",),
    ),
    Ring(
        files=("edge/*.py",),
        veo=(*INNER, "veo_shell.container_builder", "veo_shell.__version__"),
        others=(
            *("attrs", "dns", "docker", "msgspec", "psutil", "requests", "urllib3"),
            "zmq",
        ),
    ),
    Ring(
        files=("console/*.py",),
        veo=(*INNER, *WORDS, "veo_shell.console", "veo_shell.__version__"),
        others=("attrs", "msgspec", "zmq", "rich", "ptpython", *PTPYTHON_PARTS),
    ),
    Ring(
        files=("node.py",),
        veo=(*INNER, *WORDS, *PARTS, "veo_shell.edge"),
        others=("attrs",),
    ),
    # The command line: what starts a node, and what attaches to one.
    Ring(
        files=("daemon.py", "options.py"),
        veo=(
            *INNER,
            "veo_shell.settings",
            "veo_shell.options",
            "veo_shell.edge",
            "veo_shell.node",
        ),
        others=("attrs", "uvloop"),
    ),
    Ring(files=("cli.py", "cli_*.py", "__main__.py"), veo=("veo_shell",)),
)


@attrs.frozen
class Import:
    """One name that a file imports, in full; `veo_shell.core.model.Port`."""

    name: str
    line: int
    for_typing: bool


def imports_of(tree: ast.AST, for_typing: bool = False) -> Iterator[Import]:
    """Yield every import below a node, those in functions too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, for_typing)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:
                name = f"{base}.{alias.name}" if node.module else base + alias.name
                yield Import(name, node.lineno, for_typing)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from imports_of(ast.Module(node.body, []), for_typing=True)
            yield from imports_of(ast.Module(node.orelse, []), for_typing)
        else:
            yield from imports_of(node, for_typing)


def is_below(name: str, tops: tuple[str, ...]) -> bool:
    """Tell whether a dotted name is one of these or in one of them."""
    return any(name == top or name.startswith(f"{top}.") for top in tops)


def ring_of(file: str) -> Ring | None:
    """Return the ring a file belongs to, None for one that no ring names."""
    rings = (r for r in RINGS if any(fnmatch(file, name) for name in r.files))
    return next(rings, None)


def is_sibling(file: str, name: str) -> bool:
    """Tell whether an edge imports another file of the same adapter."""
    folder, _, stem = file.removesuffix(".py").rpartition("/")
    own = f"veo_shell.edge.{stem.partition('_')[0]}"
    return folder == "edge" and (is_below(name, (own,)) or name.startswith(f"{own}_"))


def refusal(ring: Ring, file: str, found: Import) -> str | None:
    """Return what is wrong with an import, None if it is fine."""
    top = found.name.partition(".")[0]
    if not top:
        return f"{found.name} is relative: say it in full"
    if top == "veo_shell":
        allowed = ring.veo + (ring.typing_only if found.for_typing else ())
        if is_below(found.name, allowed) or is_sibling(file, found.name):
            return None
        return f"{found.name} lies outside of what it may import"
    if top in sys.stdlib_module_names:
        impure = ring.pure and is_below(found.name, IMPURE) and not found.for_typing
        return f"{top} is not for pure code" if impure else None
    return None if top in ring.others else f"{top} is not one of its packages"


def impure_calls(tree: ast.AST) -> Iterator[str]:
    """Yield the calls of built-in functions that reach outside of the program."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in IMPURE_BUILTINS
        ):
            yield f"{node.lineno}: {node.func.id}() is not for pure code"


def problems(file: str, source: str) -> list[str]:
    """Return what a file imports or calls and may not, one line each."""
    ring = ring_of(file)
    if ring is None:
        return [f"{file}: no ring names it"]
    tree = ast.parse(source)
    found = [
        f"{one.line}: {why}"
        for one in imports_of(tree)
        if (why := refusal(ring, file, one)) is not None
    ]
    found += impure_calls(tree) if ring.pure else []
    return [f"{file}:{line}" for line in found]


FILES = sorted(p.relative_to(PACKAGE).as_posix() for p in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES)
def test_imports_point_inward(file: str) -> None:
    assert problems(file, (PACKAGE / file).read_text()) == []


@pytest.mark.parametrize(
    ("file", "source", "wrong"),
    [
        ("core/x.py", "import asyncio", "core/x.py:1: asyncio is not for pure code"),
        ("core/x.py", "from os import path", "os is not for pure code"),
        ("core/x.py", "def f():\n    import time", "core/x.py:2: time is not for"),
        ("core/x.py", "import zmq", "zmq is not one of its packages"),
        ("core/x.py", "from veo_shell.edge import host", "outside of what it may"),
        ("core/x.py", "from veo_shell import node", "veo_shell.node lies outside"),
        ("core/x.py", "from . import model", ".model is relative: say it in full"),
        ("core/x.py", "open('x')", "open() is not for pure code"),
        ("container_builder.py", "import os", "os is not for pure code"),
        ("edge/host.py", "from veo_shell.node import Node", "outside of what it may"),
        ("edge/host.py", "import veo_shell.console.render", "outside of what it may"),
        ("edge/host.py", "from veo_shell.edge import clock", "outside of what it may"),
        ("edge/zmq_mesh.py", "from veo_shell.edge import zoo", "outside of what it"),
        ("console/repl.py", "import veo_shell.edge.host", "outside of what it may"),
        ("container_sup.py", "from veo_shell.edge import host", "outside of what it"),
        ("container_sup.py", "from veo_shell.node import Node", "outside of what it"),
        ("core/new/x.py", "import socket", "socket is not for pure code"),
        ("strange.py", "", "strange.py: no ring names it"),
    ],
)
def test_the_walk_finds(file: str, source: str, wrong: str) -> None:
    (found,) = problems(file, source)
    assert wrong in found


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("core/x.py", "import urllib.parse"),
        ("core/x.py", "import re\nfrom veo_shell.core.model import Port\nimport attrs"),
        ("edge/zmq_mesh.py", "from veo_shell.edge.zmq_guard import Guard\nimport os"),
        ("edge/zmq_mesh.py", "from veo_shell import __version__"),
        (
            "container_sup.py",
            "if TYPE_CHECKING:\n    from veo_shell.node import Node",
        ),
        ("cli.py", "from veo_shell import daemon"),
    ],
)
def test_the_walk_lets_pass(file: str, source: str) -> None:
    assert problems(file, source) == []
