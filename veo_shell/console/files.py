"""Verbs that take a file: the operator's own is read here, where it is.

The node is given its services; without a file it takes its own. Light to import.
"""

from __future__ import annotations

import os
from typing import Any

VERBS = frozenset({"container_sup.plan", "container_sup.apply"})
FILE = "file"


def taken(
    verb: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what a verb is called with, services in the place of a path.

    Raises:
        ConfigError: with all that is wrong in the file.
    """
    if verb not in VERBS:
        return args, kwargs
    if args:
        return (services(args[0]), *args[1:]), kwargs
    if FILE in kwargs:
        return args, {**kwargs, FILE: services(kwargs[FILE])}
    return args, kwargs


def services(file: Any) -> Any:
    """Return the services of a file, if this is the path of one; else what it is."""
    if not isinstance(file, str | os.PathLike):
        return file
    from veo_shell import settings

    return settings.get_applications(file)
