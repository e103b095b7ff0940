"""The files that a service puts into its containers, from cluster.yml."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from veo_shell.core.fields import Fields, attempt, distinct, fields, scalar
from veo_shell.core.model import File, Mount
from veo_shell.core.scalars import Wrong, quoted
from veo_shell.core.tree import Tree

FILES_MOST_BYTES = 128 * 1024
"""Of one service together: they travel in its spec, and stand on its containers."""
DOCKERS_OWN = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
KERNELS = ("/dev", "/proc", "/sys")
MODE = re.compile(r"0?[0-7]{3}")


def files(tree: Tree) -> tuple[File, ...]:
    """Read the list of files."""
    found = [(item, attempt(item, _file)) for item in tree.items()]
    read = [(item, file) for item, file in found if file]
    distinct(read, lambda f: f.target, lambda f: f"the target {quoted(f.target)}")
    size = sum(len(file.content.encode()) for _, file in read)
    if size > FILES_MOST_BYTES:
        tree.complain(
            f"take {size} bytes together, at most {FILES_MOST_BYTES} are taken: put "
            "large ones into the image or a volume"
        )
    return tuple(file for _, file in read)


def complain_of_files(
    tree: Tree, files: Iterable[File], mounts: Iterable[Mount]
) -> None:
    """Note each file that a mount of the service would hide, or keep."""
    targets = [posixpath.normpath(mount.target) for mount in mounts]
    for file in files:
        for target in targets:
            if _is_in(file.target, target):
                tree.complain(
                    f"{quoted(file.target)} is in the volume {quoted(target)}: files "
                    "are put into the container itself",
                    at="files",
                )


def _file(tree: Tree) -> File | None:
    values = fields(tree.pairs(), FILE)
    if "target" not in values:
        tree.complain("is missing", at="target")
    if "content" not in values:
        tree.complain("is missing: give that, or a `source`", at="content")
    is_whole = values.keys() >= {"target", "content"}
    return File(**values) if is_whole and None not in values.values() else None


def _target(text: str) -> str:
    if not text.startswith("/") or posixpath.normpath(text) != text or text == "/":
        raise Wrong(f"{quoted(text)} is not the absolute path of a file")
    if text in DOCKERS_OWN:
        raise Wrong(f"{quoted(text)} is written by Docker itself")
    for folder in KERNELS:
        if _is_in(text, folder):
            raise Wrong(f"{quoted(text)} is in {folder}, which is the kernel's")
    return text


def _mode(text: str) -> int:
    if not MODE.fullmatch(text):
        raise Wrong(f'{quoted(text)} is not a mode (octal, like "0444")')
    return int(text, 8)


def _source(tree: Tree) -> str:
    return tree.log.read(tree.text())


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


FILE: Fields = {
    "target": ("target", scalar(_target)),
    "content": ("content", scalar(str)),
    "source": ("content", _source),
    "mode": ("mode", scalar(_mode)),
}
