"""The operators' word `settings`: what cluster.yml says. Each call reads the file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veo_shell.errors import ConfigError

if TYPE_CHECKING:  # PyYAML takes longer to import than the rest of a console
    from veo_shell.core.model import NodeEntry, Service
    from veo_shell.core.parse import ClusterFile

VARIABLE = "VEO_CONFIG"
DEFAULT_FILES = ("cluster.yml", "/etc/veo/cluster.yml")
MAX_BYTES = 4 * 1024 * 1024

File = str | os.PathLike[str]


def get_nodes(file: File | None = None) -> tuple[NodeEntry, ...]:
    """Return the nodes of the file, in its order.

    `settings.get_nodes()[0].node  # "uno@uno"`
    """
    return load(file).nodes


def get_role(node: str, file: File | None = None) -> str | None:
    """Return the role that the file gives a node, None if it gives none.

    `settings.get_role("uno@uno")  # "master"`
    """
    roles = {entry.node: entry.role for entry in get_nodes(file)}
    return roles.get(node) or None


def get_applications(file: File | None = None) -> tuple[Service, ...]:
    """Return the services of the file, in its order.

    `h, t = settings.get_applications()`
    """
    # veo: the original's came in reverse.
    return load(file).services


def get_application(file: File | None, name: str) -> tuple[Service, ...]:
    """Return the services of that name: none, one, or several variants.

    `settings.get_application("cluster.yml", "nginx")`
    """
    return tuple(s for s in get_applications(file) if s.name == name)


def parse_service(mapping: Mapping[str, Any]) -> Service:
    """Return the service that plain data describes, with the keys of cluster.yml.

    `settings.parse_service({"web": {"image": "nginx:latest", "ports": [80]}})`
    """
    from veo_shell.core import parse

    return parse.parse_service(mapping, _reader(Path()))


def check(file: File | None = None) -> list[str]:
    """Return what is wrong in the file, one line each; [] if nothing is.

    `settings.check("cluster.yml")`
    """
    try:
        load(file)
    except ConfigError as exc:
        return exc.problems
    return []


def load(file: File | None = None) -> ClusterFile:
    """Read the file, or else the one found by `default_file`; raise `ConfigError`."""
    from veo_shell.core import parse

    path = default_file() if file is None else Path(file)
    return parse.parse(_read(path), str(path), _reader(path.parent))


def default_file() -> Path:
    """Return $VEO_CONFIG if set, else the first of `DEFAULT_FILES` that exists."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    for name in DEFAULT_FILES:
        if _stands(Path(name)):
            return Path(name)
    tried = ", ".join([f"${VARIABLE} (not set)", f"./{DEFAULT_FILES[0]}"])
    raise _unusable(
        f"no cluster.yml: tried {tried}, {DEFAULT_FILES[1]}; name one with --config"
    )


def _reader(folder: Path) -> Callable[[str], str]:
    """Return what reads the files that a cluster.yml in a folder names."""
    from veo_shell.core.parse_files import FILES_MOST_BYTES
    from veo_shell.core.scalars import Wrong, quoted

    def read(name: str) -> str:
        try:
            with (folder / name).open("rb") as stream:
                text = stream.read(FILES_MOST_BYTES + 1).decode()
        except OSError as exc:
            raise Wrong(f"{quoted(name)} cannot be read: {exc.strerror}") from exc
        except ValueError as exc:  # a NUL in the name, or what is not UTF-8
            raise Wrong(f"{quoted(name)} is not text in UTF-8") from exc
        if "\0" in text:
            raise Wrong(f"{quoted(name)} is not text: it has a NUL in it")
        return text

    return read


def _stands(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return True  # reading it says what is wrong


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as exc:
        raise _unusable(f"{path}: cannot be read: {exc.strerror}") from exc
    except ValueError as exc:  # a NUL in the name
        raise _unusable(f"{str(path)!r}: cannot be read: {exc}") from exc
    if len(data) > MAX_BYTES:
        raise _unusable(f"{path}: is larger than 4 MiB, which no cluster.yml is")
    return data


def _unusable(problem: str) -> ConfigError:
    return ConfigError(problems=[problem])
